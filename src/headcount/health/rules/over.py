"""Jobs that have ended, and jobs whose status nobody can read: nothing is repaired but what is left lying about."""

from collections.abc import Iterator
from datetime import datetime

from headcount.domain.records import TaskCounts
from headcount.domain.states import JobState
from headcount.domain.verdict import describe
from headcount.health.finding import Condition, Finding, Remedy
from headcount.health.rules.case import Case
from headcount.health.rules.wording import later, span, tasks


def unknown_status(case: Case) -> Iterator[Finding]:
    """A status word that nobody knows: the job is skipped, and reported."""
    yield case.report(
        Condition.STATUS_UNKNOWN,
        f"The status {case.job.status!r} is a word that nobody here knows, so the job is left as it is.",
        command=f"headcount show {case.job.id} --log",
    )


def ended(case: Case) -> Iterator[Finding]:
    """A job that has ended, for good."""
    when = f" at {case.job.finished_at:%Y-%m-%d %H:%M:%S %Z}" if case.job.finished_at else ""
    ledger = case.ledger
    account = f": {describe(ledger.counts)}" if ledger else ""
    yield case.report(Condition.ENDED, f"The job ended{when} as {case.job.status}{account}.")


def status_against_ledger(case: Case) -> Iterator[Finding]:
    """A final status that the rows do not bear out; it was written once and stays."""
    ledger = case.ledger
    if ledger is None:
        return
    reason = _why_not(case, ledger.counts)
    if reason:
        yield case.report(
            Condition.STATUS_DISAGREES,
            f"The job is {case.job.status}, but {reason}; a final status stays as it was written.",
            command=f"headcount audit {case.job.id}",
        )


def _why_not(case: Case, counts: TaskCounts) -> str:
    match case.job.state:
        case JobState.SUCCESS:
            return _why_no_success(case, counts)
        case JobState.FAILURE if not counts.exceeds(case.job.failure_threshold):
            return f"{counts.failed} failed of {counts.total} stay within its threshold"
        case JobState.REVOKED if case.is_complete and counts.total and not counts.cancelled:
            return f"all its {tasks(counts.total)} are accounted for: the last results came with its end or after it"
        case _:
            return ""


def _why_no_success(case: Case, counts: TaskCounts) -> str:
    if counts.open:
        return f"{tasks(counts.open)} of {counts.total} are open"
    if counts.exceeds(case.job.failure_threshold):
        return f"{counts.failed} failed of {counts.total} are more than its threshold allows"
    if not case.is_whole and case.progress is not None and not case.progress.is_complete():
        return f"the ledger holds {counts.total} of its {_total(case)} tasks"
    return ""


def _total(case: Case) -> str:
    return "uncounted" if case.job.task_total is None else str(case.job.task_total)


def _swept_at(case: Case) -> datetime | None:
    """When the sweep of the health loop takes what is left over, which waits for its age."""
    due = later(case.job.finished_at or case.now, case.policy.zombie_safety_age)
    return due if due is None or due > case.now else case.next_look


def leftovers(case: Case) -> Iterator[Finding]:
    """What engines still hold of a run that is over; while another run goes on, that is only reported."""
    held = case.observation.leftovers
    if not held:
        return
    what = "; ".join(f"{engine}: {holding}" for engine, holding in sorted(held.items()))
    explanation = f"Engines still hold something of a run that is over: {what}."
    if case.job.is_final:
        next_step = f"What is left over is deleted when the end is {span(case.policy.zombie_safety_age)} ago."
        yield case.finding(Condition.ORPHANS, Remedy.CLEAN_UP, explanation, next_step=next_step, due=_swept_at(case))
    else:
        yield case.report(Condition.ORPHANS, explanation, next_step="It is deleted when the job has ended.")
