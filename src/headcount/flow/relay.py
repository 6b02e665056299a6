"""Relay: carry out what the outbox says is to be done because a transaction committed."""

import structlog

from headcount.domain.records import JobRef
from headcount.errors import TemporaryError
from headcount.ports.deployment import Deployment
from headcount.store import outbox, transitions

_log = structlog.get_logger(__name__)


def relay(deployment: Deployment, job: JobRef | None = None) -> int:
    """Carry out undelivered entries, of one run or of all; returns how many.

    An engine that does not answer leaves the entry for the next relay; each entry is safe to carry out twice.
    """
    done = 0
    for errand in outbox.undelivered(job=job):
        try:
            _carry_out(deployment, errand)
        except TemporaryError as error:
            _log.warning("outbox.postponed", topic=errand.topic, job=errand.job.job_id, reason=str(error))
        else:
            outbox.mark_delivered(errand, deployment.clock())
            done += 1
    return done


def _carry_out(deployment: Deployment, errand: outbox.Errand) -> None:
    match errand.topic:
        case outbox.DISPATCH:
            deployment.dispatcher.enqueue(errand.job)
            transitions.pend(errand.job, deployment.clock())
        case outbox.CLEAN_UP:
            deployment.queue.remove(errand.job)
            deployment.state.clean_up(errand.job)
        case _:
            _log.warning("outbox.unknown_topic", topic=errand.topic, job=errand.job.job_id)
