"""What engines still hold of a job that is over: have them forget it."""

from headcount.domain.records import JobRef
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import tell
from headcount.ports.deployment import Deployment
from headcount.store import jobs, turns

SWEEP = JobRef(0, 0)
"""The turn that everybody takes who lists what engines hold and takes some of it away."""


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Have the engines forget what they still hold of a job that has ended.

    Raises:
        EngineUnavailableError: an engine does not answer.
    """
    with turns.taking(SWEEP, deployment.clock()) as mine:
        left = held(deployment, observation.job.id) if mine and _has_ended(observation.job.id) else []
        if left:
            tell(deployment, observation, finding, "It is being deleted.", runs=[ref.run for ref in left])
        for ref in left:
            forget(deployment, ref)
    return bool(left)


def held(deployment: Deployment, job_id: int) -> list[JobRef]:
    """Return the runs of a job of which the queue or the state manager holds anything."""
    holdings = (deployment.queue.held_runs(), deployment.state.held_runs())
    return sorted({run.job for held_by in holdings for run in held_by.runs if run.job.job_id == job_id})


def forget(deployment: Deployment, ref: JobRef) -> None:
    """Have the queue and the state manager forget a run."""
    deployment.queue.remove(ref)
    deployment.state.clean_up(ref)


def _has_ended(job_id: int) -> bool:
    state = jobs.status_of(job_id)
    return state is not None and state.is_final
