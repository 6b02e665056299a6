"""The tables: fields and constraints. Rows are written by ``store`` alone."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from headcount.domain.states import (
    ACCOUNTED_TASK_STATES,
    FINAL_STATES,
    DispatchMode,
    JobState,
    Stage,
    TaskState,
)


class Project(models.Model):
    """Owns jobs, pipelines, services and tokens."""

    name = models.CharField(max_length=200, unique=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class ProcessingService(models.Model):
    """Who runs pipelines: a pull service has workers that claim, a push service has a URL."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="services")
    name = models.CharField(max_length=200)
    url = models.CharField(max_length=2000, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(null=True)

    class Meta:
        """Constraints."""

        constraints = (models.UniqueConstraint("project", "name", name="headcount_service_name_once"),)

    def __str__(self) -> str:
        return self.name


class Pipeline(models.Model):
    """A named, versioned recipe that workers of a project offer."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="pipelines")
    slug = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    version = models.CharField(max_length=100, default="1")
    algorithms = models.JSONField(default=list)
    services = models.ManyToManyField(ProcessingService, related_name="pipelines")

    class Meta:
        """Constraints."""

        constraints = (models.UniqueConstraint("project", "slug", name="headcount_pipeline_slug_once"),)

    def __str__(self) -> str:
        return self.slug


class Worker(models.Model):
    """One process of a pull service, as it was last seen."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="workers")
    name = models.CharField(max_length=200)
    pipelines = models.JSONField(default=list)
    last_seen_at = models.DateTimeField()

    class Meta:
        """Constraints."""

        constraints = (models.UniqueConstraint("project", "name", name="headcount_worker_name_once"),)

    def __str__(self) -> str:
        return self.name


class Token(models.Model):
    """A credential: only its digest is kept."""

    digest = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="tokens")
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Job(models.Model):
    """One batch of work that a user submits; ``set_aside`` of its tasks were cancelled before this run began."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="jobs")
    pipeline = models.ForeignKey(Pipeline, on_delete=models.PROTECT, null=True, related_name="jobs")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=100)
    dispatch_mode = models.CharField(max_length=20, choices=[(mode, mode) for mode in DispatchMode])
    status = models.CharField(max_length=20, default=JobState.CREATED)
    run = models.PositiveIntegerField(default=1)
    priority = models.SmallIntegerField(default=0)
    failure_threshold = models.FloatField(default=0.5)
    fail_fast = models.BooleanField(default=False)
    set_aside = models.PositiveBigIntegerField(default=0)
    config = models.JSONField(default=dict)
    task_total = models.PositiveBigIntegerField(null=True)
    published_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        """Constraints; a status nobody knows is tolerated, a contradiction is not."""

        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=sorted(FINAL_STATES), finished_at__isnull=False)
                | (~Q(status__in=sorted(FINAL_STATES)) & Q(finished_at__isnull=True)),
                name="headcount_job_final_has_finished_at",
            ),
            models.CheckConstraint(
                condition=Q(failure_threshold__gte=0, failure_threshold__lte=1), name="headcount_job_threshold_is_share"
            ),
            models.CheckConstraint(condition=Q(run__gte=1), name="headcount_job_run_from_one"),
            models.CheckConstraint(
                condition=Q(dispatch_mode__in=sorted(DispatchMode)), name="headcount_job_dispatch_mode_known"
            ),
            models.CheckConstraint(
                condition=Q(published_at__isnull=True) | Q(task_total__isnull=False),
                name="headcount_job_published_after_collected",
            ),
            models.CheckConstraint(
                condition=Q(set_aside=0) | Q(set_aside__lte=F("task_total")),
                name="headcount_job_set_aside_within_total",
            ),
        )
        indexes = (
            models.Index(
                fields=("project", "-priority", "id"),
                condition=~Q(status__in=sorted(FINAL_STATES)),
                name="headcount_job_running",
            ),
        )

    def __str__(self) -> str:
        return f"job {self.pk}"


class Task(models.Model):
    """One row of the ledger: the durable account of one task."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="tasks", db_index=False)
    ordinal = models.PositiveIntegerField()
    key = models.CharField(max_length=500)
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=10, default=TaskState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    releases = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=200, default="", blank=True)
    leased_until = models.DateTimeField(null=True)
    accounted_at = models.DateTimeField(null=True)
    error = models.TextField(null=True)  # noqa: DJ001 - a task has an error exactly when it failed

    class Meta:
        """Constraints."""

        constraints = (
            models.UniqueConstraint("job", "ordinal", name="headcount_task_ordinal_once"),
            models.UniqueConstraint("job", "key", name="headcount_task_key_once"),
            models.CheckConstraint(condition=Q(state__in=sorted(TaskState)), name="headcount_task_state_known"),
            models.CheckConstraint(
                condition=Q(attempts__gte=F("releases")), name="headcount_task_releases_are_attempts"
            ),
            models.CheckConstraint(
                condition=Q(state__in=sorted(ACCOUNTED_TASK_STATES), accounted_at__isnull=False)
                | (~Q(state__in=sorted(ACCOUNTED_TASK_STATES)) & Q(accounted_at__isnull=True)),
                name="headcount_task_accounted_has_time",
            ),
            models.CheckConstraint(
                condition=Q(state=TaskState.LEASED, leased_until__isnull=False)
                | (~Q(state=TaskState.LEASED) & Q(leased_until__isnull=True)),
                name="headcount_task_leased_has_end",
            ),
            models.CheckConstraint(
                condition=Q(state=TaskState.FAILED, error__isnull=False)
                | (~Q(state=TaskState.FAILED) & Q(error__isnull=True)),
                name="headcount_task_failed_has_error",
            ),
        )

    def __str__(self) -> str:
        return f"task {self.ordinal} of job {self.job_id}"


class JobStage(models.Model):
    """A stage's progress as it was last written down: for people, and the witness of last resort."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="stages")
    run = models.PositiveIntegerField(default=1)
    stage = models.CharField(max_length=10, choices=[(stage, stage) for stage in Stage])
    total = models.PositiveBigIntegerField(null=True)
    done = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)
    counts = models.JSONField(default=dict)
    updated_at = models.DateTimeField()

    class Meta:
        """Constraints."""

        constraints = (
            models.UniqueConstraint("job", "stage", name="headcount_stage_once"),
            models.CheckConstraint(
                condition=Q(total__isnull=True) | Q(total__gte=F("done") + F("failed")),
                name="headcount_stage_counts_within_total",
            ),
        )

    def __str__(self) -> str:
        return f"{self.stage} of job {self.job_id}"


class JobPatience(models.Model):
    """How long a job has stood still, as the health loop saw it: its clocks run only while every engine answers."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, primary_key=True, related_name="patience")
    run = models.PositiveIntegerField()
    watched_at = models.DateTimeField()
    mark = models.CharField(max_length=200)
    moved_at = models.DateTimeField()
    idle_seconds = models.FloatField(default=0.0)
    unserved_seconds = models.FloatField(default=0.0)

    class Meta:
        """Constraints."""

        constraints = (
            models.CheckConstraint(condition=Q(run__gte=1), name="headcount_patience_run_from_one"),
            models.CheckConstraint(
                condition=Q(idle_seconds__gte=0, unserved_seconds__gte=0), name="headcount_patience_not_negative"
            ),
        )

    def __str__(self) -> str:
        return f"patience with job {self.job_id}"


class Certificate(models.Model):
    """A verdict with its arithmetic and evidence, kept for ever."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="certificates")
    run = models.PositiveIntegerField()
    status = models.CharField(max_length=20)
    arithmetic = models.TextField()
    reason = models.TextField()
    threshold = models.FloatField()
    waiting = models.PositiveBigIntegerField()
    leased = models.PositiveBigIntegerField()
    received = models.PositiveBigIntegerField()
    saved = models.PositiveBigIntegerField()
    failed = models.PositiveBigIntegerField()
    cancelled = models.PositiveBigIntegerField()
    evidence = models.JSONField(default=dict)
    decided_at = models.DateTimeField()

    class Meta:
        """Constraints."""

        constraints = (
            models.UniqueConstraint("job", "run", name="headcount_certificate_once_a_run"),
            models.CheckConstraint(
                condition=Q(status__in=sorted(FINAL_STATES)), name="headcount_certificate_status_is_final"
            ),
            models.CheckConstraint(
                condition=Q(status=JobState.REVOKED) | Q(waiting=0, leased=0, received=0),
                name="headcount_certificate_nothing_open",
            ),
        )

    def __str__(self) -> str:
        return f"{self.status} of job {self.job_id}, run {self.run}"


class JobEvent(models.Model):
    """One line of a job's append-only log."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    run = models.PositiveIntegerField()
    at = models.DateTimeField()
    level = models.CharField(max_length=10)
    name = models.CharField(max_length=100)
    message = models.TextField()
    evidence = models.JSONField(default=dict)

    class Meta:
        """Newest last."""

        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class OutboxEntry(models.Model):
    """Something to be done because a transaction committed; done at least once."""

    topic = models.CharField(max_length=50)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="outbox")
    run = models.PositiveIntegerField()
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        """Constraints."""

        constraints = (models.UniqueConstraint("job", "run", "topic", name="headcount_outbox_once"),)
        indexes = (
            models.Index(fields=("id",), condition=Q(delivered_at__isnull=True), name="headcount_outbox_undelivered"),
        )

    def __str__(self) -> str:
        return f"{self.topic} for job {self.job_id}"


class RepairTurn(models.Model):
    """Who repairs a run has its turn until then; the job may be gone, so it is named by number only."""

    job_id = models.BigIntegerField()
    run = models.PositiveIntegerField()
    held_until = models.DateTimeField()

    class Meta:
        """Constraints."""

        constraints = (models.UniqueConstraint("job_id", "run", name="headcount_repair_turn_once"),)

    def __str__(self) -> str:
        return f"repair of job {self.job_id}, run {self.run}"
