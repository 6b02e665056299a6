"""The one place that says how a job ends."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

from headcount.domain.records import TaskCounts
from headcount.domain.states import JobState

FOLLOWED = "dispatcher"
"""What the evidence of a verdict has under this name is the word of a dispatcher, which it follows, not the figures."""


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


@dataclass(frozen=True, slots=True)
class Bound:
    """How far a job is from FAILURE, while it runs.

    Attributes:
        failures_left: how many more tasks may fail and the job still succeed; below zero, it no longer can.
    """

    failures_left: int

    @property
    def can_succeed(self) -> bool:
        """Whether the job succeeds if nothing more fails."""
        return self.failures_left >= 0

    def __str__(self) -> str:
        """Say it in words."""
        if not self.can_succeed:
            return "can no longer succeed"
        noun = "failure" if self.failures_left == 1 else "failures"
        return f"can still succeed: at most {self.failures_left} more {noun}"


def live_bound(total: int, failed: int, threshold: float) -> Bound:
    """Say how many more failures ``verdict`` will forgive a job of ``total`` tasks of which ``failed`` have failed.

    The share is compared exactly, as ``verdict`` does: failed / total > threshold holds for a whole number ``failed``
    exactly where it is greater than the whole part of threshold * total.
    """
    return Bound(floor(Fraction(str(threshold)) * total) - failed)


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
