"""A state manager that lost a run, or counts it otherwise than the ledger: rebuild it from the ledger."""

from headcount.domain.records import JobRecord
from headcount.errors import EngineUnavailableError
from headcount.flow.count import rebuild
from headcount.flow.forget import forget_if_ended
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import still_running, tell
from headcount.ports.deployment import Deployment
from headcount.ports.state_manager import Silence, Snapshot, Unknown


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Replace what the state manager knows, unless it has moved since it was looked at: then somebody counts.

    Raises:
        EngineUnavailableError: the state manager does not answer.
    """
    job = still_running(observation)
    if job is None or job.task_total is None or _has_moved(deployment, job, observation):
        return False
    tell(deployment, observation, finding, "It is being rebuilt from the ledger.")
    with deployment.rebuilding.holding(job.ref):
        rebuild(deployment, job)
    return not forget_if_ended(deployment, job.ref)


def _has_moved(deployment: Deployment, job: JobRecord, observation: Observation) -> bool:
    now, before = deployment.state.snapshot(job.ref), observation.state
    if isinstance(now, Unknown) and now.silence is Silence.UNHEARD:
        # Before anything is told: what cannot be reached cannot be rebuilt.
        raise EngineUnavailableError(now.reason)
    return isinstance(now, Snapshot) and (not isinstance(before, Snapshot) or now.stages != before.stages)
