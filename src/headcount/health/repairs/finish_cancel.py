"""A job that is being cancelled, by somebody who died over it: settle its open tasks and end it."""

from headcount.domain.states import JobState
from headcount.flow.finalise import finalise
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import ending, still_running
from headcount.ports.deployment import Deployment


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Finish the cancellation that is under way now."""
    job = still_running(observation)
    if job is None or job.state is not JobState.CANCELING:
        return False
    return finalise(deployment, job.ref, ending(finding))
