"""The append-only log of a job."""

from collections.abc import Sequence
from datetime import datetime

from headcount.domain.records import Event, JobRef
from headcount.models import JobEvent


def append(job: JobRef, event: Event, now: datetime) -> None:
    """Add a line to a job's log, in the caller's transaction if there is one."""
    JobEvent.objects.create(
        job_id=job.job_id,
        run=job.run,
        at=now,
        level=event.level,
        name=event.name,
        message=event.message,
        evidence=dict(event.evidence),
    )


def of(job_id: int, after: int = 0, limit: int = 1000) -> Sequence[JobEvent]:
    """Return the lines of a job's log with an id above ``after``, oldest first."""
    return list(JobEvent.objects.filter(job_id=job_id, id__gt=after)[:limit])
