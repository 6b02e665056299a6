"""Stale jobs: those on which nothing has moved for too long; what is decided about them, and done."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from headcount.errors import BadInputError
from headcount.health.policy import policy_of
from headcount.health.treat import Round, Treated, Treatment
from headcount.ports.deployment import Deployment

_MOST_MINUTES = 10 * 366 * 24 * 60


@dataclass(frozen=True, slots=True)
class StaleJob:
    """A job that makes no progress.

    Attributes:
        job_id: the job.
        without_progress: for how long nothing has moved, by the clock that runs only while the engines answer.
        treatments: what was found, and what was done about each.
    """

    job_id: int
    without_progress: timedelta
    treatments: tuple[Treatment, ...]


def check_stale_jobs(
    deployment: Deployment, minutes: float | None = None, *, dry_run: bool = False
) -> Sequence[StaleJob]:
    """Decide about every running job without progress, and do it; returns what was decided and done, oldest job first.

    How long a job has stood still is what the health loop has seen: a time in which no loop looked, or an engine did
    not answer, does not count.

    Args:
        deployment: the engines.
        minutes: without progress for so long; None takes ``stalled_after`` of the settings.
        dry_run: only decide; nothing is changed.

    Raises:
        BadInputError: ``minutes`` is no length of time.
    """
    policy = policy_of(deployment.settings)
    if minutes is not None:
        policy = replace(policy, stalled_after=_duration(minutes))
    round_ = Round(deployment, policy, dry_run=dry_run)
    stale = round_.running(lambda seen: seen.patience.without_progress >= policy.stalled_after)
    return [_stale(treated) for treated in stale]


def _stale(treated: Treated) -> StaleJob:
    waited = treated.observation.patience.without_progress if treated.observation else timedelta(0)
    return StaleJob(treated.job_id, waited, treated.treatments)


def _duration(minutes: float) -> timedelta:
    if not 0 <= minutes <= _MOST_MINUTES:
        raise BadInputError(f"minutes without progress are a number from 0 to {_MOST_MINUTES}, not {minutes:g}")
    return timedelta(minutes=minutes)
