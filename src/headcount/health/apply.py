"""Apply: carry out the remedy of a finding, once, wherever and how often it is asked for."""

from collections.abc import Callable, Mapping

import structlog

from headcount import metrics
from headcount.health.finding import Finding, Remedy
from headcount.health.observation import Observation
from headcount.health.repairs import (
    clean_up,
    fail_spent,
    finalise,
    finish_cancel,
    follow_dispatcher,
    follow_progress,
    level_progress,
    rebuild_state,
    republish,
    resume_dispatch,
    revoke,
)
from headcount.ports.deployment import Deployment
from headcount.store import turns

_log = structlog.get_logger(__name__)

Repair = Callable[[Deployment, Observation, Finding], bool]

REPAIRS: Mapping[Remedy, Repair] = {
    Remedy.FINALISE: finalise.repair,
    Remedy.FINISH_CANCEL: finish_cancel.repair,
    Remedy.LEVEL_PROGRESS: level_progress.repair,
    Remedy.REBUILD_STATE: rebuild_state.repair,
    Remedy.REPUBLISH: republish.repair,
    Remedy.FAIL_SPENT: fail_spent.repair,
    Remedy.RESUME_DISPATCH: resume_dispatch.repair,
    Remedy.FOLLOW_DISPATCHER: follow_dispatcher.repair,
    Remedy.FOLLOW_PROGRESS: follow_progress.repair,
    Remedy.REVOKE: revoke.repair,
    Remedy.CLEAN_UP: clean_up.repair,
}
"""What each remedy is made of; the one that is missing, ``NONE``, is none."""


def apply(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Do what a finding asks for; returns whether that changed anything.

    The repair looks again at what it rests on, so an old finding does no harm; of several that ask at the same moment
    one repairs the run and the others do nothing.

    Raises:
        EngineUnavailableError: an engine that the repair needs does not answer; the next tick asks for it again.
    """
    repair = REPAIRS.get(finding.remedy)
    if repair is None:
        return False
    with turns.taking(observation.job.ref, deployment.clock()) as mine:
        changed = mine and repair(deployment, observation, finding)
    if changed:
        _tell_of_repair(observation, finding)
    return changed


def _tell_of_repair(observation: Observation, finding: Finding) -> None:
    metrics.repairs.labels(finding.remedy).inc()
    tell = _log.info if finding.remedy is Remedy.LEVEL_PROGRESS else _log.warning
    tell(
        "health.repaired",
        job=observation.job.id,
        condition=finding.condition,
        remedy=finding.remedy,
        why=finding.explanation,
    )
