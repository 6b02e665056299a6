"""A job that its dispatcher does by itself, and says to have ended: end it as it says."""

from headcount.domain.records import JobRecord
from headcount.domain.states import DispatchMode, JobState
from headcount.flow.finalise import follow
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import ending, still_running
from headcount.ports.deployment import Deployment


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """End the run as the dispatcher says now, if that is what the finding rests on.

    Raises:
        EngineUnavailableError: the dispatcher does not answer.
    """
    job = still_running(observation)
    if job is None or finding.outcome is None or job.dispatch_mode is DispatchMode.ASYNC_API:
        return False
    said = _word(deployment, job, finding.outcome)
    return bool(said) and follow(deployment, job.ref, finding.outcome, said, ending(finding))


def _word(deployment: Deployment, job: JobRecord, outcome: JobState) -> str:
    """Return what the dispatcher says, empty where that is not ``outcome``."""
    said = deployment.dispatcher.testimony(job.ref)
    if said is None or JobState.parse(said.state) is not outcome:
        return ""
    return f"its dispatch ended as {outcome}: {said.error or 'without a word'}"
