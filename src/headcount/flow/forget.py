"""Forget: what the engines were told of a run beside or after its end is taken back."""

from headcount.domain.records import JobRef
from headcount.domain.states import FINAL_STATES
from headcount.ports.deployment import Deployment
from headcount.statements import write_transaction
from headcount.store import jobs, ledger, transitions


def forget_if_ended(deployment: Deployment, ref: JobRef) -> bool:
    """Have the engines forget a run that has ended, if only because a retry followed it; returns whether it has.

    Whoever puts something into an engine calls this afterwards: the run may have ended, and been cleaned up, in
    between. Tasks that were never handed out and came into the ledger after a cancel are settled as those before it.

    Raises:
        EngineUnavailableError: an engine does not answer; the same call may be repeated.
    """
    job = jobs.get(ref.job_id)
    if job.ref == ref and not job.is_final:
        return False
    if job.ref == ref and not job.published:
        _settle_leftovers(deployment, ref)
    deployment.queue.remove(ref)
    deployment.state.clean_up(ref)
    return True


def _settle_leftovers(deployment: Deployment, ref: JobRef) -> None:
    """The tasks of a run that followed meanwhile are its own."""
    with write_transaction():
        if transitions.hold(ref, FINAL_STATES):
            ledger.cancel_open(ref.job_id, deployment.clock())
