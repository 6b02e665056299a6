"""Patience: how long a job has stood still. Pure; the clocks run only while whoever could move it answers."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from headcount.domain.patience import Watch
from headcount.domain.records import JobRef

_NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look at a run tells of its patience.

    Attributes:
        job: the run.
        mark: where its progress stands; None where that could not be told.
        all_answered: whether ledger, queue, state manager and dispatcher were all heard.
        is_served: whether a worker for it was seen lately or none is needed; None where that could not be told.
    """

    job: JobRef
    mark: str | None
    all_answered: bool
    is_served: bool | None


def aged(before: Watch | None, seen: Sighting, now: datetime, longest_step: timedelta) -> Watch:
    """Return how a run stands now, given how it stood at the look before; None for the first look at a job.

    From one look to the next at most ``longest_step`` counts, so a night without a health loop ages nobody; nothing
    counts while an engine is silent, nor when the clock was set back. Another run begins anew.
    """
    if before is None or before.job != seen.job:
        return Watch(seen.job, now, seen.mark or "", moved_at=now)
    step = min(max(now - before.watched_at, _NO_TIME), longest_step) if seen.all_answered else _NO_TIME
    mark = before.mark if seen.mark is None else seen.mark
    has_moved = mark != before.mark
    return Watch(
        job=seen.job,
        watched_at=now,
        mark=mark,
        moved_at=now if has_moved else before.moved_at,
        idle=_NO_TIME if has_moved else before.idle + step,
        unserved=_unserved(before.unserved, seen.is_served, step),
    )


def _unserved(before: timedelta, is_served: bool | None, step: timedelta) -> timedelta:  # noqa: FBT001 - a field
    if is_served is None:
        return before
    return _NO_TIME if is_served else before + step
