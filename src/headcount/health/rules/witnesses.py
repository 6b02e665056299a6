"""Witnesses that do not answer, and jobs that nothing is the matter with."""

from collections.abc import Iterator

from headcount.health.finding import Condition, Finding
from headcount.health.rules.case import Case
from headcount.health.rules.wording import tasks


def silent_witnesses(case: Case) -> Iterator[Finding]:
    """Each witness that was asked and did not answer; the state manager's silence is a finding of its own."""
    for name, said in case.silent:
        yield case.report(
            Condition.WITNESS_SILENT,
            f"The {name} cannot testify: {said.reason}.",
            next_step="It is asked again; until it answers, the job does not age and is not given up.",
            due=case.next_look,
        )


def healthy(case: Case) -> Finding:
    """A job that nothing is the matter with."""
    return case.report(
        Condition.HEALTHY,
        f"{_where_it_stands(case)}; nothing is amiss.",
        next_step="The health loop looks again.",
        due=case.next_look,
    )


def _where_it_stands(case: Case) -> str:
    ledger = case.ledger
    if ledger is None or not ledger.counts.total:
        return f"The job is {case.job.status} and has no tasks yet"
    counts = ledger.counts
    return f"{tasks(counts.accounted)} of {counts.total} are accounted for, {case.held} are in the hands of workers"
