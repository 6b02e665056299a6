"""Jobs whose end is decided and not written: accounted for, or being cancelled."""

from collections.abc import Iterator

from headcount.domain.records import JobProgress, TaskCounts
from headcount.domain.states import JobState, Stage
from headcount.domain.verdict import Verdict, verdict
from headcount.health.finding import Condition, Finding, Remedy
from headcount.health.rules.case import Case
from headcount.health.rules.wording import are, tasks

_ON_THE_LEDGER = "the verdict rests on the ledger"


def cancel_not_finished(case: Case) -> Iterator[Finding]:
    """A cancel wins against every other end, whatever the witnesses say."""
    ledger = case.ledger
    still = f", and {are(ledger.counts.open, 'task')} still open" if ledger and ledger.counts.open else ""
    yield case.finding(
        Condition.CANCEL_NOT_FINISHED,
        Remedy.FINISH_CANCEL,
        f"The job is being cancelled{still}.",
        next_step="Open tasks are settled as cancelled and the job ends as REVOKED; what is saved stays.",
        outcome=JobState.REVOKED,
    )


def finished_not_finalised(case: Case) -> Iterator[Finding]:
    """Every task is accounted for: the verdict follows from the ledger, whatever anybody else says."""
    ledger = case.ledger
    if ledger is None or not case.is_complete:
        return
    known = f"All {tasks(ledger.counts.total)} are accounted for in the ledger"
    if case.is_being_ended:
        yield _being_ended(case, known)
        return
    decision = verdict(ledger.counts, case.job.failure_threshold)
    yield case.finding(
        Condition.FINISHED_NOT_FINALISED,
        Remedy.FINALISE,
        f"{known}, but the job is {case.job.status}.",
        next_step=f"The job ends with the ledger's verdict: {decision.status} ({decision.arithmetic}).",
        fallback=case.fallback(_ON_THE_LEDGER) if case.is_async else "",
        outcome=decision.status,
    )


def failed_fast(case: Case) -> Iterator[Finding]:
    """Too many tasks have failed of a job that ends as soon as that is certain."""
    ledger = case.ledger
    if ledger is None or case.is_complete or not case.fails_fast:
        return
    counts = ledger.counts
    known = (
        f"{counts.failed} of {tasks(counts.total)} have failed, more than the threshold of"
        f" {case.job.failure_threshold:g} allows, and the job is to fail fast"
    )
    if case.is_being_ended:
        yield _being_ended(case, known)
        return
    yield case.finding(
        Condition.FINISHED_NOT_FINALISED,
        Remedy.FINALISE,
        f"{known}, but it is {case.job.status}.",
        next_step="Open tasks are settled as cancelled and the job ends as FAILURE.",
        fallback=case.fallback(_ON_THE_LEDGER) if case.is_async else "",
        outcome=JobState.FAILURE,
    )


def _being_ended(case: Case, known: str) -> Finding:
    """Whoever accounts the last task commits it first and ends the job next; in between it is left alone."""
    return case.report(
        Condition.FINISHED_NOT_FINALISED,
        f"{known}, the last one a moment ago.",
        next_step="Whoever accounted it ends the job now; if that was lost, the health loop does at its next look.",
        due=case.next_look,
    )


def finished_by_progress(case: Case) -> Iterator[Finding]:
    """No ledger and no state manager are left to ask, and the progress rows say that everything is done."""
    if case.is_decided or case.progress is None or not case.is_finished_by_progress:
        return
    decision = _verdict_of_progress(case, case.progress)
    yield case.finding(
        Condition.FINISHED_NOT_FINALISED,
        Remedy.FOLLOW_PROGRESS,
        "The job has no ledger rows, and its progress rows say that every stage is complete.",
        next_step=f"The job ends on the word of its progress rows: {decision.status} ({decision.arithmetic}).",
        fallback=case.fallback("there is no ledger either, so its progress rows are believed")
        or f"job {case.job.id}: there is no ledger; its progress rows are believed",
        outcome=decision.status,
    )


def _verdict_of_progress(case: Case, progress: JobProgress) -> Verdict:
    results = progress.stage(Stage.RESULTS)
    return verdict(TaskCounts(saved=results.done, failed=results.failed), case.job.failure_threshold)
