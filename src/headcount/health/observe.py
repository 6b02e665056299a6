"""Observe: gather what every witness says of jobs, with none able to hold up or to falsify another."""

from collections.abc import Iterator, Sequence

from headcount.domain.records import JobRecord
from headcount.health.observation import Observation
from headcount.ports.deployment import Deployment

PAGE = 1000
"""How many jobs are asked about at once; the number of queries grows with the pages and not with the jobs."""


def observe(deployment: Deployment, job_id: int) -> Observation:
    """Return what all witnesses say of one job; nothing is written, no lock is held.

    Raises:
        NotFoundError: there is no such job.
        EngineUnavailableError: the database does not answer for the job's row.
    """
    raise NotImplementedError


def observe_many(deployment: Deployment, page: Sequence[JobRecord], *, remember: bool = False) -> list[Observation]:
    """Return what all witnesses say of each job, in the order given, with a bounded number of queries.

    ``remember`` keeps for the next look how long each job has stood still; the health loop does, a diagnosis does not.
    """
    raise NotImplementedError


def observe_running(deployment: Deployment, *, remember: bool = False) -> Iterator[list[Observation]]:
    """Yield the observations of every job that has not ended, page by page, oldest first."""
    raise NotImplementedError
