"""A job that no dispatcher is taking further, though it was handed to one: have it taken up again."""

from headcount.domain.records import Event, JobRecord
from headcount.domain.states import DispatchMode, JobState
from headcount.health.repairs.each import repair_each
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import DispatchTestimony
from headcount.store import events, jobs

_ENDED = frozenset({JobState.SUCCESS, JobState.FAILURE, JobState.REVOKED})


def repair(deployment: Deployment) -> tuple[int, int, int]:
    """Resume every dispatch that ended or died; returns how many jobs were looked at, resumed, and could not be."""
    candidates = [job for job in jobs.running() if _needs_dispatcher(deployment, job)]
    return repair_each(candidates, lambda job: _repair_job(deployment, job))


def _needs_dispatcher(deployment: Deployment, job: JobRecord) -> bool:
    """Workers take an ``async_api`` job over once it is published; a job just submitted is about to be handed on."""
    handed_over = job.dispatch_mode is DispatchMode.ASYNC_API and job.published
    is_settled = deployment.clock() - job.created_at > deployment.settings.dispatch_lease
    return is_settled and not handed_over and job.state is not JobState.CANCELING


def _repair_job(deployment: Deployment, job: JobRecord) -> bool:
    """Have the dispatcher look, which does nothing for a dispatch that is alive; say so where it was not."""
    before = deployment.dispatcher.testimony(job.ref)
    deployment.dispatcher.resume(job.ref)
    if not _is_over(before):
        return False
    said = f"was {before.state}: {before.error or 'without a word'}" if before else "is unknown to the dispatcher"
    event = Event("dispatch.resumed", f"the dispatch {said}; it is taken up again", "warning")
    events.append(job.ref, event, deployment.clock())
    return True


def _is_over(testimony: DispatchTestimony | None) -> bool:
    return testimony is None or JobState.parse(testimony.state) in _ENDED
