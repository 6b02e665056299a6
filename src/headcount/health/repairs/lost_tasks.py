"""A job with open tasks that the queue knows nothing of: put them in again."""

from headcount.domain.records import Event, JobRecord
from headcount.domain.states import WORKABLE_STATES, DispatchMode
from headcount.flow.forget import forget_if_ended
from headcount.flow.publish import chunks
from headcount.health.repairs.each import repair_each
from headcount.ports.deployment import Deployment
from headcount.store import events, jobs, ledger


def repair(deployment: Deployment) -> tuple[int, int, int]:
    """Republish the lost tasks of every running job; returns how many were looked at, repaired, and could not be."""
    candidates = [job for job in jobs.running() if _is_published(job)]
    return repair_each(candidates, lambda job: _repair_job(deployment, job))


def _is_published(job: JobRecord) -> bool:
    return job.published and job.dispatch_mode is DispatchMode.ASYNC_API and job.state in WORKABLE_STATES


def _repair_job(deployment: Deployment, job: JobRecord) -> bool:
    # The queue first: a result is saved before it is acknowledged, so what is saved in between raises no alarm.
    depth = deployment.queue.depth(job.ref)
    known = depth.pending + depth.in_flight if depth else 0
    open_tasks = ledger.counts(job.id).open
    if known >= open_tasks:
        return False
    now = deployment.clock()
    ordinals = ledger.unheld_ordinals(job.id, now)
    if not ordinals:
        return False
    for chunk in chunks(ordinals):
        deployment.queue.publish(job.ref, chunk, generation=int(now.timestamp()))
    if forget_if_ended(deployment, job.ref):
        return False
    message = f"{open_tasks} tasks are open but the queue holds {known}; {len(ordinals)} are put in again"
    events.append(job.ref, Event("tasks.republished", message, "warning"), now)
    return True
