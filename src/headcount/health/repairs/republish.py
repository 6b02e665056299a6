"""A job with open tasks that the queue knows nothing of: put them in again, as long as they have attempts left."""

from headcount.domain.records import JobRecord
from headcount.domain.states import WORKABLE_STATES, DispatchMode
from headcount.flow.forget import forget_if_ended
from headcount.flow.publish import chunks
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import still_running, tell
from headcount.ports.deployment import Deployment
from headcount.store import ledger


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Publish the unheld tasks under a new generation, if the queue still holds less than is open.

    Raises:
        EngineUnavailableError: the queue does not answer.
    """
    job = still_running(observation)
    if job is None or not _is_published(job):
        return False
    # The queue first: a result is saved before it is acknowledged, so what is saved in between raises no alarm.
    depth = deployment.queue.depth(job.ref)
    known = depth.pending + depth.in_flight if depth else 0
    now = deployment.clock()
    settings = deployment.settings
    ordinals = ledger.unspent_ordinals(job.id, settings.max_attempts, now, now + settings.longest_lease)
    if known >= ledger.counts(job.id).open or not ordinals:
        return False
    tell(deployment, observation, finding, f"{len(ordinals)} tasks are being put in again.", republished=len(ordinals))
    for chunk in chunks(ordinals):
        deployment.queue.publish(job.ref, chunk, generation=int(now.timestamp()))
    return not forget_if_ended(deployment, job.ref)


def _is_published(job: JobRecord) -> bool:
    return job.published and job.dispatch_mode is DispatchMode.ASYNC_API and job.state in WORKABLE_STATES
