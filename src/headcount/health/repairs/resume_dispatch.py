"""A job that no dispatcher takes further, though it was handed to one: have it taken up again."""

from functools import partial

from headcount.domain.records import JobRecord
from headcount.domain.states import DispatchMode, JobState
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import still_running, tell
from headcount.ports.deployment import Deployment


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Have the dispatcher look, which does nothing for a dispatch that is alive; say so where it was not.

    Raises:
        EngineUnavailableError: the dispatcher does not answer.
    """
    job = still_running(observation)
    if job is None or not _needs_dispatcher(job):
        return False
    before = deployment.dispatcher.testimony(job.ref)
    said = (
        f"It was {before.state}: {before.error or 'without a word'}" if before else "The dispatcher knew nothing of it"
    )
    note = partial(tell, deployment, observation, finding, f"{said}; it is taken up again.")
    return deployment.dispatcher.resume(job.ref, note)


def _needs_dispatcher(job: JobRecord) -> bool:
    """Workers take an ``async_api`` job over once it is published."""
    handed_over = job.dispatch_mode is DispatchMode.ASYNC_API and job.published
    return not handed_over and job.state is not JobState.CANCELING
