"""Cancel: stop handing out, settle what is open, end as REVOKED. What is saved already stays."""

from headcount.domain.records import JobRecord
from headcount.domain.states import JobState
from headcount.errors import ConflictError
from headcount.flow.finalise import finalise
from headcount.ports.deployment import Deployment
from headcount.store import jobs, transitions


def cancel(deployment: Deployment, job_id: int, project_id: int | None = None) -> JobRecord:
    """Cancel a running job; returns it as it stands after.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: the job has ended already, if only in this very moment.
    """
    job = jobs.get(job_id, project_id)
    moved = transitions.begin_cancel(job.ref, "cancelled on request", deployment.clock())
    if not moved and job.state is not JobState.CANCELING:
        raise ConflictError(_why_not(jobs.get(job_id)))
    finalise(deployment, job.ref)
    return jobs.get(job_id)


def _why_not(job: JobRecord) -> str:
    if job.is_final:
        return f"job {job.id} has ended already, as {job.status}"
    return f"job {job.id} was not cancelled, it is {job.status} in run {job.run} now; try again"
