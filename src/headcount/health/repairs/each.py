"""Each job by itself: one that cannot be repaired keeps no other from it."""

from collections.abc import Callable, Iterable

import structlog

from headcount.domain.records import JobRecord
from headcount.errors import TemporaryError

_log = structlog.get_logger(__name__)


def repair_each(candidates: Iterable[JobRecord], repair: Callable[[JobRecord], bool]) -> tuple[int, int, int]:
    """Repair jobs; returns how many were looked at, how many were repaired and how many could not be.

    Raises:
        TemporaryError: an engine does not answer; the jobs behind this one would find it no better.
    """
    outcomes = [_attempt(job, repair) for job in candidates]
    return len(outcomes), outcomes.count(True), outcomes.count(None)


def _attempt(job: JobRecord, repair: Callable[[JobRecord], bool]) -> bool | None:
    try:
        return repair(job)
    except TemporaryError:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong with one job, the others are still to be looked at
        _log.exception("health.job_not_repaired", job=job.id)
        return None
