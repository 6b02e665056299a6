"""The one place that says how a job ends."""

from dataclasses import dataclass

from headcount.domain.records import TaskCounts
from headcount.domain.states import JobState


@dataclass(frozen=True, slots=True)
class Verdict:
    """A terminal status with the arithmetic that led to it.

    Attributes:
        status: SUCCESS, FAILURE or REVOKED.
        arithmetic: the comparison in figures, readable by a person.
        reason: one sentence saying why the job ended.
    """

    status: JobState
    arithmetic: str
    reason: str


def verdict(counts: TaskCounts, threshold: float) -> Verdict:
    """Say how a job ends whose tasks are all accounted.

    A job fails when its share of failed tasks is *greater* than ``threshold``; a job of no tasks succeeds.

    Args:
        counts: the ledger's counts, with no open task.
        threshold: the failure threshold, 0.0 to 1.0.

    Raises:
        ValueError: tasks are still open, so there is no verdict yet.
    """
    if counts.open:
        raise ValueError(f"{counts.open} of {counts.total} tasks are still open: no verdict yet")
    if counts.total == 0:
        return Verdict(JobState.SUCCESS, "0 tasks", "the job had no tasks")
    failed = counts.exceeds(threshold)
    comparison = f"{float(counts.failed_share):.4f} {'>' if failed else '<='} {threshold:g}"
    arithmetic = f"{counts.failed} failed / {counts.total} = {comparison}"
    if failed:
        return Verdict(JobState.FAILURE, arithmetic, "more tasks failed than the failure threshold allows")
    return Verdict(
        JobState.SUCCESS, arithmetic, "every task is accounted for and the failures stay within the threshold"
    )


def cancelled(counts: TaskCounts) -> Verdict:
    """Say how a job ends that its user cancelled."""
    return Verdict(JobState.REVOKED, describe(counts), "the job was cancelled on request")


def given_up(counts: TaskCounts, reason: str) -> Verdict:
    """Say how a job ends that nothing can finish any more; ``reason`` is the evidence in one sentence."""
    return Verdict(JobState.REVOKED, describe(counts), reason)


def describe(counts: TaskCounts) -> str:
    """Return the conservation sum of a job as one line of arithmetic."""
    parts = " + ".join(f"{number} {state}" for state, number in counts.by_state().items())
    return f"{counts.total} = {parts}"
