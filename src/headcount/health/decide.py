"""Decide: the one pure function that says what is the matter with a job and what is done about it.

Diagnosis and health loop both call it, so that what the one says is what the other does.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from headcount.domain.states import JobState
from headcount.health.finding import Condition, Finding, Policy, Remedy
from headcount.health.observation import Observation
from headcount.health.rules import accounts, dispatch, finished, over, standstill, witnesses, work
from headcount.health.rules.case import Case

Rule = Callable[[Case], Iterator[Finding]]

_UNREADABLE: tuple[Rule, ...] = (over.unknown_status,)
_OVER: tuple[Rule, ...] = (over.ended, over.status_against_ledger, over.leftovers)
_ALWAYS: tuple[Rule, ...] = (over.leftovers, witnesses.silent_witnesses)
_CANCELLING: tuple[Rule, ...] = (finished.cancel_not_finished, *_ALWAYS)
_FINISHED: tuple[Rule, ...] = (
    finished.finished_not_finalised,
    finished.failed_fast,
    finished.finished_by_progress,
    accounts.state_manager,
    accounts.progress_behind,
    *_ALWAYS,
)
_PULLED: tuple[Rule, ...] = (
    accounts.state_manager,
    accounts.progress_behind,
    dispatch.handing_out,
    work.spent_tasks,
    work.lost_tasks,
    work.redelivery_climbing,
    work.hung_worker,
    work.waiting_for_workers,
    standstill.stalled,
    *_ALWAYS,
)
_DISPATCHED: tuple[Rule, ...] = (
    accounts.state_manager,
    accounts.progress_behind,
    dispatch.doing_itself,
    *_ALWAYS,
)

_TURNS = (
    Remedy.FINISH_CANCEL,
    Remedy.FINALISE,
    Remedy.REBUILD_STATE,
    Remedy.RESUME_DISPATCH,
    Remedy.FAIL_SPENT,
    Remedy.REPUBLISH,
    Remedy.LEVEL_PROGRESS,
    Remedy.FOLLOW_DISPATCHER,
    Remedy.FOLLOW_PROGRESS,
    Remedy.REVOKE,
    Remedy.CLEAN_UP,
    Remedy.NONE,
)
"""What is applied before what: repairs before ends, so that a job is repaired before it is given up."""
_TURN_OF = {remedy: turn for turn, remedy in enumerate(_TURNS)}

_IMPORTANCE = (
    Condition.STATUS_UNKNOWN,
    Condition.STATUS_DISAGREES,
    Condition.ENDED,
    Condition.CANCEL_NOT_FINISHED,
    Condition.FINISHED_NOT_FINALISED,
    Condition.DISPATCHER_DIED,
    Condition.LOST_TASKS,
    Condition.SPENT_TASKS,
    Condition.HUNG_WORKER,
    Condition.REDELIVERY_CLIMBING,
    Condition.WAITING_FOR_WORKERS,
    Condition.STALLED,
    Condition.RESULT_SWALLOWED,
    Condition.STATE_ELSEWHERE,
    Condition.STATE_LOST,
    Condition.STATE_DISAGREES,
    Condition.WITNESS_SILENT,
    Condition.PROGRESS_BEHIND,
    Condition.ORPHANS,
    Condition.HEALTHY,
)
_RANK_OF = {condition: rank for rank, condition in enumerate(_IMPORTANCE)}


def decide(observation: Observation, policy: Policy, now: datetime) -> tuple[Finding, ...]:
    """Return what is the matter with a job, in the order in which the remedies are applied; never empty.

    It rests on the observation alone and holds for every one, whatever word a row or a dispatcher brings.

    Args:
        observation: what all witnesses said.
        policy: how patient the deployment is.
        now: the moment of the decision, timezone-aware.
    """
    case = Case.of(observation, policy, now)
    found = [finding for rule in _rules(case) for finding in rule(case)]
    return tuple(sorted(found, key=_turn)) or (witnesses.healthy(case),)


def headline(findings: Sequence[Finding]) -> Finding:
    """Return the finding that says most about where a job stands: what ends it, else the gravest condition.

    Raises:
        ValueError: there is no finding; ``decide`` always returns one.
    """
    return min(findings, key=lambda finding: (finding.outcome is None, _RANK_OF[finding.condition]))


def _rules(case: Case) -> tuple[Rule, ...]:
    state = case.job.state
    if state is None:
        return _UNREADABLE
    if state.is_final:
        return _OVER
    if state is JobState.CANCELING:
        return _CANCELLING
    if case.is_decided or case.is_finished_by_progress:
        return _FINISHED
    return _PULLED if case.is_async else _DISPATCHED


def _turn(finding: Finding) -> int:
    return _TURN_OF[finding.remedy]
