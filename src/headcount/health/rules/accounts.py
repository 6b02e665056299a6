"""Accounts that are not level with the ledger: the state manager's, and the progress rows."""

from collections.abc import Iterator

from headcount.domain.records import StageProgress, TaskCounts
from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.health.finding import Condition, Finding, Remedy
from headcount.health.rules.case import Case
from headcount.health.rules.wording import span, tasks
from headcount.ports.state_manager import Silence, Snapshot, Unknown

_REBUILT = "The state manager is rebuilt from the ledger."
_NOT_REBUILT = "Nothing: the job does not need it any more, or it is rebuilt with the next result."


def state_manager(case: Case) -> Iterator[Finding]:
    """A state manager that cannot testify, or whose counts are not the ledger's."""
    said = case.observation.state
    if isinstance(said, Unknown):
        yield from _lost(case, said)
    else:
        yield from _different(case, said)


def _can_rebuild(case: Case) -> bool:
    return case.is_async and case.is_whole and not case.is_decided


def _lost(case: Case, said: Unknown) -> Iterator[Finding]:
    """Between collecting and publishing a dispatcher begins the counting; until it had time to, nothing is lost."""
    if case.job.task_total is None or not (case.job.published or case.lingers or case.is_decided):
        return
    is_elsewhere = said.silence is Silence.ELSEWHERE
    condition = Condition.STATE_ELSEWHERE if is_elsewhere else Condition.STATE_LOST
    hint = "; look at HEADCOUNT_STATE_URL of every process" if is_elsewhere else ""
    explanation = f"The state manager cannot testify: {said.reason}{hint}."
    ledger = case.ledger
    if ledger is None or not _can_rebuild(case):
        yield case.report(condition, explanation, next_step=_NOT_REBUILT)
        return
    counts = ledger.counts
    used = f"the ledger is used instead, which has {tasks(counts.open)} of {counts.total} open"
    yield case.finding(condition, Remedy.REBUILD_STATE, explanation, next_step=_REBUILT, fallback=case.fallback(used))


def _different(case: Case, said: Snapshot) -> Iterator[Finding]:
    ledger = case.ledger
    if ledger is None or not case.is_whole:
        return
    difference = _claims_more(case, said, ledger.counts) or _stays_behind(case, said, ledger.counts)
    if not difference:
        return
    explanation = f"The state manager disagrees with the ledger: {difference}."
    if not _can_rebuild(case):
        yield case.report(Condition.STATE_DISAGREES, explanation, next_step=_NOT_REBUILT)
        return
    yield case.finding(
        Condition.STATE_DISAGREES,
        Remedy.REBUILD_STATE,
        explanation,
        next_step=f"The ledger wins. {_REBUILT}",
        fallback=f"job {case.job.id}: the state manager is overruled ({difference}); the ledger is used instead",
    )


def _claims_more(case: Case, said: Snapshot, counts: TaskCounts) -> str:
    """A state manager never runs ahead: results are counted after they are saved, and it is asked before the ledger."""
    if said.all_tasks_processed and counts.open:
        return f"it has every task processed, the ledger has {tasks(counts.open)} of {counts.total} open"
    for stage in said.stages:
        received = counts.received if stage.stage is Stage.PROCESS else 0
        if stage.total != counts.total:
            return f"it counts towards {stage.total}, the ledger holds {tasks(counts.total)}"
        if stage.done > counts.saved + received or stage.failed > counts.failed:
            return f"{_told(stage)}, the ledger has {counts.saved} saved and {counts.failed} failed"
    return ""


def _stays_behind(case: Case, said: Snapshot, counts: TaskCounts) -> str:
    """Behind is where a running job's counts are between commit and count; it is amiss where it stays so."""
    behind = _behind(said.stages, counts)
    if behind is None or not case.lingers:
        return ""
    known = f"{counts.saved} saved and {counts.failed} failed"
    return f"{_told(behind)}, the ledger has {known}, and nothing has moved for {span(case.standstill)}"


def _behind(stages: tuple[StageProgress, ...], counts: TaskCounts) -> StageProgress | None:
    """Return the first counted stage that knows of fewer tasks than the ledger, a missing one knowing of none."""
    known = {stage.stage: stage for stage in stages}
    counted = (known.get(stage, StageProgress(stage, None)) for stage in STATE_MANAGER_STAGES)
    return next((stage for stage in counted if stage.done < counts.saved or stage.failed < counts.failed), None)


def _told(stage: StageProgress) -> str:
    return f"its stage {stage.stage} has {stage.done} done and {stage.failed} failed"


def progress_behind(case: Case) -> Iterator[Finding]:
    """Progress rows that know of fewer tasks than the ledger, though there was time to write them."""
    ledger = case.ledger
    if ledger is None or not case.is_whole or case.progress is None:
        return
    behind = _behind(case.progress.stages, ledger.counts)
    if behind is None or not (case.lingers or case.is_complete):
        return
    explanation = (
        f"The progress row of stage {behind.stage} says {behind.done} done and {behind.failed} failed of "
        f"{behind.total or '?'}, the ledger has {ledger.counts.saved} saved and {ledger.counts.failed} failed."
    )
    if case.is_complete:
        yield case.report(Condition.PROGRESS_BEHIND, explanation, next_step="It is written with the verdict.")
    else:
        next_step = "The progress rows are raised to what the ledger says."
        yield case.finding(Condition.PROGRESS_BEHIND, Remedy.LEVEL_PROGRESS, explanation, next_step=next_step)
