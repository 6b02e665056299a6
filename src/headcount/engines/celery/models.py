"""The table of the Celery dispatcher: what it knows of each run, whatever becomes of the broker."""

from django.db import models
from django.db.models import F, Q

RUNNING = "STARTED"


class Dispatch(models.Model):
    """One run handed to Celery.

    A message names the run and a ``generation``; only messages of the row's generation count. ``begun`` numbers the
    times that a worker took the run up and is the fence against those that were thought dead; ``attempts`` counts them
    since the run last gave a sign of life. A row whose ``published_at`` is empty has no message in the broker.
    """

    job_id = models.BigIntegerField()
    run = models.IntegerField()
    state = models.CharField(max_length=20, default="PENDING")
    generation = models.IntegerField(default=0)
    begun = models.IntegerField(default=0)
    attempts = models.IntegerField(default=0)
    available_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True)
    leased_until = models.DateTimeField(null=True)
    error = models.TextField(default="", blank=True)

    class Meta:
        """Constraints; the states are Celery's words."""

        constraints = (
            models.UniqueConstraint("job_id", "run", name="headcount_celery_dispatch_once"),
            models.CheckConstraint(
                condition=Q(state=RUNNING, leased_until__isnull=False)
                | (~Q(state=RUNNING) & Q(leased_until__isnull=True)),
                name="headcount_celery_dispatch_started_has_lease",
            ),
            models.CheckConstraint(
                condition=Q(begun__gte=F("attempts")), name="headcount_celery_dispatch_attempts_were_begun"
            ),
        )

    def __str__(self) -> str:
        return f"dispatch of job {self.job_id}"
