"""What is kept from one look at a job to the next, so that standing still can be told from not being watched."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from headcount.domain.records import JobRef


@dataclass(frozen=True, slots=True)
class Watch:
    """How a run stood when it was last looked at.

    Attributes:
        job: the run.
        watched_at: when it was looked at.
        mark: where its progress stood, as text that differs when anything moved; empty where it could not be told.
        moved_at: when the mark was last seen to differ.
        idle: how long it has stood still, by the loop's own clock.
        unserved: how long no worker has been seen for it, by the same clock.
    """

    job: JobRef
    watched_at: datetime
    mark: str
    moved_at: datetime
    idle: timedelta = timedelta(0)
    unserved: timedelta = timedelta(0)
