"""Cancel: stop handing out, settle what is open, end as REVOKED. What is saved already stays."""

from headcount.domain.records import JobRecord
from headcount.errors import ConflictError
from headcount.flow.finalise import finalise
from headcount.ports.deployment import Deployment
from headcount.store import jobs, transitions


def cancel(deployment: Deployment, job_id: int, project_id: int | None = None) -> JobRecord:
    """Cancel a running job; returns it as it stands after.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: the job has ended already.
    """
    job = jobs.get(job_id, project_id)
    if job.is_final:
        raise ConflictError(f"job {job_id} has ended already, as {job.status}")
    transitions.begin_cancel(job.ref, "cancelled on request", deployment.clock())
    finalise(deployment, job.ref)
    return jobs.get(job_id)
