"""Forget: what the engines were told of a run beside or after its end is taken back."""

from headcount.domain.records import JobRef
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger


def forget_if_ended(deployment: Deployment, ref: JobRef) -> bool:
    """Have the engines forget a run that has ended; returns whether it has.

    Whoever puts something into an engine calls this afterwards: the run may have ended, and been cleaned up, in
    between. Tasks that were never handed out and came into the ledger after a cancel are settled as those before it.

    Raises:
        EngineUnavailableError: an engine does not answer; the same call may be repeated.
    """
    job = jobs.get(ref.job_id)
    if job.run != ref.run or not job.is_final:
        return False
    if not job.published:
        ledger.cancel_open(job.id, deployment.clock())
    deployment.queue.remove(ref)
    deployment.state.clean_up(ref)
    return True
