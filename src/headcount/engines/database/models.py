"""The tables of the database engines. They name jobs by number only: an engine is a witness, not part of the ledger."""

from django.db import models
from django.db.models import F, Q


class QueueMessage(models.Model):
    """One task waiting to be claimed or under a lease."""

    job_id = models.BigIntegerField()
    run = models.IntegerField()
    ordinal = models.IntegerField()
    ready = models.BooleanField(default=True)
    deliveries = models.IntegerField(default=0)
    leased_until = models.DateTimeField(null=True)

    class Meta:
        """Constraints; the partial indexes keep a claim at one look-up however long the queue is."""

        constraints = (
            models.UniqueConstraint("job_id", "run", "ordinal", name="headcount_database_message_once"),
            models.CheckConstraint(
                condition=Q(ready=True, leased_until__isnull=True) | Q(ready=False, leased_until__isnull=False),
                name="headcount_database_message_leased_has_end",
            ),
        )
        indexes = (
            models.Index(fields=("job_id", "run", "ordinal"), condition=Q(ready=True), name="headcount_database_ready"),
            models.Index(fields=("leased_until",), condition=Q(ready=False), name="headcount_database_leased"),
        )

    def __str__(self) -> str:
        return f"task {self.ordinal} of job {self.job_id}"


class RunState(models.Model):
    """What the state manager has counted of one run."""

    job_id = models.BigIntegerField()
    run = models.IntegerField()
    total = models.BigIntegerField()
    process_done = models.BigIntegerField(default=0)
    process_failed = models.BigIntegerField(default=0)
    results_done = models.BigIntegerField(default=0)
    results_failed = models.BigIntegerField(default=0)

    class Meta:
        """Constraints."""

        constraints = (
            models.UniqueConstraint("job_id", "run", name="headcount_database_run_once"),
            models.CheckConstraint(
                condition=Q(total__gte=F("process_done") + F("process_failed"))
                & Q(total__gte=F("results_done") + F("results_failed")),
                name="headcount_database_run_counts_within_total",
            ),
        )

    def __str__(self) -> str:
        return f"run {self.run} of job {self.job_id}"


class StateMark(models.Model):
    """A task that a stage has dealt with: the row makes counting it twice impossible."""

    pk = models.CompositePrimaryKey("job_id", "run", "stage", "ordinal")
    job_id = models.BigIntegerField()
    run = models.IntegerField()
    stage = models.CharField(max_length=10)
    ordinal = models.IntegerField()
    failed = models.BooleanField()

    def __str__(self) -> str:
        return f"{self.stage} of task {self.ordinal} of job {self.job_id}"


class Dispatch(models.Model):
    """One run handed to the dispatcher; whoever runs it holds a lease and extends it while it lives."""

    job_id = models.BigIntegerField()
    run = models.IntegerField()
    state = models.CharField(max_length=10, default="PENDING")
    attempts = models.IntegerField(default=0)
    available_at = models.DateTimeField()
    leased_until = models.DateTimeField(null=True)
    error = models.TextField(default="", blank=True)

    class Meta:
        """Constraints."""

        constraints = (
            models.UniqueConstraint("job_id", "run", name="headcount_database_dispatch_once"),
            models.CheckConstraint(
                condition=Q(state="STARTED", leased_until__isnull=False)
                | (~Q(state="STARTED") & Q(leased_until__isnull=True)),
                name="headcount_database_dispatch_started_has_lease",
            ),
        )
        indexes = (
            models.Index(
                fields=("available_at",),
                condition=Q(state__in=("PENDING", "STARTED")),
                name="headcount_dispatch_due",
            ),
        )

    def __str__(self) -> str:
        return f"dispatch of job {self.job_id}"
