"""Account: save, then count, then acknowledge, then finalise. Durability runs this way and no other.

A crash at any point leaves later witnesses behind earlier ones, never ahead; a redelivery or the health loop brings
them level.
"""

from collections.abc import Mapping, Sequence

import structlog

from headcount.domain.records import AccountedTask, Event, JobRecord, Outcome
from headcount.errors import TemporaryError
from headcount.flow.count import count
from headcount.flow.finalise import finalise
from headcount.flow.save import Saved, save
from headcount.ports.deployment import Deployment
from headcount.ports.task_queue import Delivery
from headcount.store import events

_log = structlog.get_logger(__name__)


def account(
    deployment: Deployment,
    job: JobRecord,
    outcomes: Sequence[Outcome],
    deliveries: Mapping[int, Delivery] | None = None,
) -> Saved:
    """Account outcomes, one for each task, through every witness; ``deliveries`` are the queue's, by ordinal.

    Raises:
        EngineUnavailableError: the database does not answer; nothing was accounted.
    """
    saved = save(deployment, job, outcomes)
    if job.is_final and saved.newly:
        _note_late(deployment, job, saved.newly)
    bring_level(deployment, job, [*saved.newly, *saved.behind], deliveries or {})
    return saved


def bring_level(
    deployment: Deployment, job: JobRecord, tasks: Sequence[AccountedTask], deliveries: Mapping[int, Delivery]
) -> None:
    """Tell the later witnesses what the ledger holds already, and end the job where these tasks decide it.

    An engine that does not answer is left behind, and those after it: what is saved stays saved, and the health loop
    tells them again. A queue that does not answer keeps no job from its end: what it holds of the run is removed then.
    """
    if not tasks:
        return
    can_end = None
    try:
        can_end = count(deployment, job, tasks)
        acknowledge(deployment, job, [task.ordinal for task in tasks], deliveries)
    except TemporaryError as error:
        _log.warning("witness.left_behind", job=job.id, tasks=len(tasks), reason=str(error))
    if can_end:
        finalise(deployment, can_end)


def acknowledge(
    deployment: Deployment, job: JobRecord, ordinals: Sequence[int], deliveries: Mapping[int, Delivery]
) -> None:
    """Remove the deliveries of these tasks from the queue."""
    settled = [deliveries[ordinal] for ordinal in ordinals if ordinal in deliveries]
    if settled:
        deployment.queue.acknowledge(job.ref, settled)


def _note_late(deployment: Deployment, job: JobRecord, tasks: Sequence[AccountedTask]) -> None:
    message = f"{len(tasks)} results came after the job was {job.status}; they are saved, the status stays"
    event = Event("result.late", message, evidence={"ordinals": [task.ordinal for task in tasks]})
    events.append(job.ref, event, deployment.clock())
