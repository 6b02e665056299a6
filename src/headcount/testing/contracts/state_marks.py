"""Runs and marks for tests of state managers, and the counts they add up to."""

from collections import Counter
from collections.abc import Iterable
from itertools import count

from headcount.domain.records import JobRef, StageProgress
from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.ports.state_manager import Mark, Snapshot, Unknown

_JOB_IDS = count(1)


def new_job(run: int = 1) -> JobRef:
    """Return a run of a job that no other test of this process knows."""
    return JobRef(next(_JOB_IDS), run)


def marks_of(ordinals: Iterable[int], *, failed: Iterable[int] = ()) -> list[Mark]:
    """Return the marks of tasks that went through every stage; those in ``failed`` as failed."""
    failures = set(failed)
    return [Mark(stage, ordinal, ordinal in failures) for ordinal in ordinals for stage in STATE_MANAGER_STAGES]


def expected_stages(total: int, marks: Iterable[Mark]) -> tuple[StageProgress, ...]:
    """Return the counts that marks add up to: of each task the first mark of each stage, and nothing else."""
    first: dict[tuple[Stage, int], bool] = {}
    for mark in marks:
        if 0 <= mark.ordinal < total:
            first.setdefault((mark.stage, mark.ordinal), mark.failed)
    counts = Counter((stage, failed) for (stage, _), failed in first.items())
    return tuple(
        StageProgress(stage, total, counts[stage, False], counts[stage, True]) for stage in STATE_MANAGER_STAGES
    )


def known(answer: Snapshot | Unknown) -> Snapshot:
    """Return an answer that testifies; fails the test with the reason where it does not."""
    assert isinstance(answer, Snapshot), answer
    return answer
