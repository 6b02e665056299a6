"""Publish: put a job's open tasks in the queue, resumably."""

from collections.abc import Iterator, Sequence

from headcount.domain.records import Event, JobRecord
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import Checkpoint, never_interrupted
from headcount.statements import write_transaction
from headcount.store import events, jobs, ledger

CHUNK = 5000
_FIRST_CHUNK = 250
"""Workers begin with the first portion while the others are put in."""


def publish(deployment: Deployment, job: JobRecord, checkpoint: Checkpoint = never_interrupted) -> None:
    """Put every open task in the queue and note that it is done.

    Message identities are (job, run, ordinal), so a dispatcher killed halfway is followed by one that starts over
    and puts nothing in twice.
    """
    if job.published:
        return
    ordinals = ledger.open_ordinals(job.id)
    for chunk in chunks(ordinals):
        checkpoint()
        deployment.queue.publish(job.ref, chunk)
    checkpoint()
    now = deployment.clock()
    with write_transaction():
        jobs.set_published(job.id, job.run, now)
        events.append(job.ref, Event("job.published", f"{len(ordinals)} tasks put in the queue"), now)


def chunks(ordinals: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield ordinals in portions that one call of the queue takes well, the first one small."""
    first = min(_FIRST_CHUNK, CHUNK)
    if ordinals:
        yield ordinals[:first]
    for start in range(first, len(ordinals), CHUNK):
        yield ordinals[start : start + CHUNK]
