"""Jobs of pull workers that have stood still past the cutoff: given up only where nothing can finish them."""

from collections.abc import Iterator

from headcount.domain.states import JobState
from headcount.health.finding import Condition, Finding, Remedy
from headcount.health.rules.case import Case
from headcount.health.rules.wording import span, tasks


def stalled(case: Case) -> Iterator[Finding]:
    """A published job on which nothing has moved for as long as the policy waits."""
    if not case.is_stale or not case.job.published:
        return
    reason = why_nothing_can_finish(case)
    if reason:
        yield _given_up(case, reason)
    elif case.silent:
        yield waits_for_witnesses(case)
    elif case.workers_seen:
        yield _waits(case)


def why_nothing_can_finish(case: Case) -> str:
    """Return why nobody can finish a stale job any more, empty where somebody can or where it is not known."""
    if not case.is_stale or case.silent or case.is_held or not case.job.published:
        return ""
    ledger = case.ledger
    if ledger is None or case.has_no_ledger:
        return "the ledger has no tasks of the job that anybody could do"
    if not ledger.counts.open:
        return f"the ledger holds {ledger.counts.total} of {case.job.task_total} tasks, and none of them is open"
    if case.is_without_workers and not ledger.spent:
        waited = span(case.observation.patience.without_workers)
        return f"no worker of pipeline {case.job.pipeline!r} was seen for {waited}"
    return ""


def given_up(case: Case, condition: Condition, explanation: str, fallback: str = "") -> Finding:
    """Return the finding that ends a job as REVOKED."""
    return case.finding(
        condition,
        Remedy.REVOKE,
        explanation,
        next_step="The job ends as REVOKED; open tasks stay open for results that come late.",
        command=f"headcount cancel {case.job.id}",
        fallback=fallback,
        outcome=JobState.REVOKED,
    )


def waits_for_witnesses(case: Case) -> Finding:
    """Return the finding of a stale job that is not given up while a witness is silent."""
    names = " and ".join(name for name, _ in case.silent)
    return case.report(
        Condition.STALLED,
        f"Nothing has moved for {span(case.standstill)}, and not every witness answers ({names}).",
        next_step="The job is not ended before they do.",
        due=case.next_look,
    )


def _given_up(case: Case, reason: str) -> Finding:
    explanation = f"Nothing has moved for {span(case.standstill)}, and nothing can: {reason}."
    used = "there is no ledger either, and its progress rows do not say that it is done"
    return given_up(case, Condition.STALLED, explanation, case.fallback(used) if case.has_no_ledger else "")


def _waits(case: Case) -> Finding:
    ledger = case.ledger
    still = f"{tasks(ledger.counts.open)} of {ledger.counts.total} are open" if ledger else ""
    return case.report(
        Condition.STALLED,
        f"Nothing has moved for {span(case.standstill)} and {still}, but workers of pipeline {case.job.pipeline!r}"
        " are there to take them.",
        next_step="The job is not ended while workers can finish it; what is held returns when its lease ends.",
        due=case.next_look,
        command=f"headcount cancel {case.job.id}",
    )
