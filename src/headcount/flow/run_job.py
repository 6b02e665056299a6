"""Run a job: what a dispatcher does, from wherever the one before it was stopped."""

import structlog

from headcount.domain.records import JobRecord, JobRef
from headcount.domain.states import WORKABLE_STATES, DispatchMode
from headcount.flow.collect import collect
from headcount.flow.count import rebuild
from headcount.flow.finalise import finalise, give_up
from headcount.flow.forget import forget_if_ended
from headcount.flow.publish import publish
from headcount.flow.push import push
from headcount.flow.work import work
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import Checkpoint, never_interrupted
from headcount.store import jobs, transitions

_log = structlog.get_logger(__name__)


class _NoLongerWantedError(Exception):
    """The job was cancelled or has ended while its dispatch was under way."""


def run_job(deployment: Deployment, ref: JobRef, checkpoint: Checkpoint = never_interrupted) -> None:
    """Take a run from where it stands to where workers take over, or to its end for internal jobs.

    Safe to run again after a crash, and by two dispatchers at once. A job that ends meanwhile stops it at its next
    checkpoint.
    """
    transitions.start(ref, deployment.clock())
    try:
        _advance(deployment, ref, _while_wanted(ref, checkpoint))
    except _NoLongerWantedError:
        _log.info("dispatch.no_longer_wanted", job=ref.job_id)
    if not finalise(deployment, ref):
        forget_if_ended(deployment, ref)


def abandon_job(deployment: Deployment, ref: JobRef, reason: str) -> None:
    """End a run whose dispatch failed for good: there is nobody left to finish it."""
    give_up(deployment, ref, f"the dispatch failed: {reason}")


def _advance(deployment: Deployment, ref: JobRef, checkpoint: Checkpoint) -> None:
    job = jobs.get(ref.job_id)
    if _is_wanted(job, ref):
        collect(deployment, job, checkpoint)
        if ref.run > 1:
            rebuild(deployment, jobs.get(ref.job_id))
        _hand_out(deployment, jobs.get(ref.job_id), checkpoint)


def _is_wanted(job: JobRecord, ref: JobRef) -> bool:
    return job.run == ref.run and job.state in WORKABLE_STATES


def _while_wanted(ref: JobRef, checkpoint: Checkpoint) -> Checkpoint:
    def check() -> None:
        checkpoint()
        if not _is_wanted(jobs.get(ref.job_id), ref):
            raise _NoLongerWantedError

    return check


def _hand_out(deployment: Deployment, job: JobRecord, checkpoint: Checkpoint) -> None:
    match job.dispatch_mode:
        case DispatchMode.INTERNAL:
            work(deployment, job, checkpoint)
        case DispatchMode.SYNC_API:
            push(deployment, job, checkpoint)
        case DispatchMode.ASYNC_API:
            publish(deployment, job, checkpoint)
