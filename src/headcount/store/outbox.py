"""The outbox: what is to be done because a transaction committed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from headcount.domain.records import JobRef
from headcount.models import OutboxEntry

DISPATCH = "dispatch"
"""Hand the run to the dispatcher."""

CLEAN_UP = "clean_up"
"""Let the queue and the state manager forget the run."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One undelivered entry."""

    id: int
    topic: str
    job: JobRef


def add(job: JobRef, topic: str, now: datetime) -> None:
    """Write an entry, in the caller's transaction."""
    OutboxEntry.objects.create(job_id=job.job_id, run=job.run, topic=topic, created_at=now)


def undelivered(limit: int = 100, job: JobRef | None = None) -> Sequence[Errand]:
    """Return entries that nobody has carried out, oldest first; of one run only, where it is named."""
    entries = OutboxEntry.objects.filter(delivered_at__isnull=True).order_by("id")
    if job is not None:
        entries = entries.filter(job_id=job.job_id, run=job.run)
    return [Errand(entry.pk, entry.topic, JobRef(entry.job_id, entry.run)) for entry in entries[:limit]]


def mark_delivered(errand: Errand, now: datetime) -> None:
    """Note that an entry was carried out."""
    OutboxEntry.objects.filter(pk=errand.id, delivered_at__isnull=True).update(delivered_at=now)
