"""What engines still hold of runs that are over: have them forget it."""

from headcount.domain.records import JobRef
from headcount.errors import NotFoundError
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import tell
from headcount.ports.deployment import Deployment
from headcount.store import jobs, turns

SWEEP = JobRef(0, 0)
"""The turn that everybody takes who lists what engines hold and takes some of it away."""


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Have the engines forget every run of the job that is over and that they still hold.

    Raises:
        EngineUnavailableError: an engine does not answer.
    """
    with turns.taking(SWEEP, deployment.clock()) as mine:
        left = sorted(ref for ref in held(deployment, observation.job.id) if is_over(ref)) if mine else []
        for ref in left:
            forget(deployment, ref)
    if not left:
        return False
    runs = [ref.run for ref in left]
    return tell(deployment, observation, finding, f"Of {len(runs)} runs nothing is held any more.", runs=runs)


def held(deployment: Deployment, job_id: int) -> set[JobRef]:
    """Return the runs of a job of which the queue or the state manager holds anything."""
    holdings = (deployment.queue.held_runs(), deployment.state.held_runs())
    return {run.job for held_by in holdings for run in held_by.runs if run.job.job_id == job_id}


def is_over(ref: JobRef) -> bool:
    """Whether nobody needs anything of a run any more: its job has ended, went on to a later run, or was deleted."""
    try:
        job = jobs.get(ref.job_id)
    except NotFoundError:
        return True
    return job.run > ref.run or (job.run == ref.run and job.is_final)


def forget(deployment: Deployment, ref: JobRef) -> None:
    """Have the queue and the state manager forget a run."""
    deployment.queue.remove(ref)
    deployment.state.clean_up(ref)
