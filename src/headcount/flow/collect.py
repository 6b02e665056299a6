"""Collect: write a job's tasks into the ledger, resumably."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from django.db import IntegrityError

from headcount.domain.records import Event, JobRecord, StageProgress, TaskSpec
from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.errors import PermanentError
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import Checkpoint, never_interrupted
from headcount.statements import write_transaction
from headcount.store import events, jobs, ledger, progress

CHUNK = 2000
"""Tasks in one statement: large enough that round trips do not count, small enough to resume cheaply."""


def collect(deployment: Deployment, job: JobRecord, checkpoint: Checkpoint = never_interrupted) -> None:
    """Write every task of a job, note how many there are, and begin to count them.

    A dispatcher killed halfway has left whole chunks; the next one goes on behind them, even while the first, that
    was only thought dead, still writes. The total is noted only when all tasks are there, so that a part never looks
    like the whole, and nothing is written any more once it is noted, so that the whole never grows. Counting begins
    with a total that cannot change; where a dispatcher died before that, the next one begins it.

    Raises:
        PermanentError: the job's kind yields a key twice.
    """
    if job.task_total is None:
        _write_all(deployment, job, checkpoint)
        checkpoint()
        _note_total(deployment, job)
    if not job.published:
        _begin_to_count(deployment, job)


def _write_all(deployment: Deployment, job: JobRecord, checkpoint: Checkpoint) -> None:
    yielded = 0
    for chunk in _chunks(deployment.kind(job.kind).collect(job)):
        checkpoint()
        _write(job, yielded, chunk, deployment.clock())
        yielded += len(chunk)


def _write(job: JobRecord, yielded: int, chunk: Sequence[TaskSpec], now: datetime) -> None:
    """Write what the ledger does not hold yet behind what it does, and how far that is.

    Every task yielded so far is in the ledger. Where that is all it holds, the whole chunk is new; where it holds
    more, another dispatcher has written, and the keys tell what is missing. While one looks and writes, no other does.
    """
    with write_transaction():
        if not jobs.lock_collecting(job.ref):
            return
        size = ledger.size(job.id)
        missing = chunk if size == yielded else _not_collected(job, chunk)
        try:
            size += ledger.collect(job.id, size, missing)
        except IntegrityError as error:
            raise PermanentError(f"the kind {job.kind!r} yields a key twice for job {job.id}: {error}") from error
        progress.write(job.ref, [StageProgress(Stage.COLLECT, None, size)], now)


def _chunks(specs: Iterable[TaskSpec]) -> Iterator[list[TaskSpec]]:
    iterator = iter(specs)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _not_collected(job: JobRecord, chunk: Sequence[TaskSpec]) -> list[TaskSpec]:
    known = ledger.known_keys(job.id, [spec.key for spec in chunk])
    return [spec for spec in chunk if spec.key not in known]


def _note_total(deployment: Deployment, job: JobRecord) -> None:
    """Note what the ledger holds as the total, unless another dispatcher has done so."""
    now = deployment.clock()
    with write_transaction():
        if not jobs.lock_collecting(job.ref):
            return
        total = ledger.size(job.id)
        jobs.set_task_total(job.id, job.run, total)
        collected = StageProgress(Stage.COLLECT, total, total)
        progress.write(job.ref, [collected, *[StageProgress(stage, total) for stage in STATE_MANAGER_STAGES]], now)
        events.append(job.ref, Event("job.collected", f"{total} tasks collected"), now)


def _begin_to_count(deployment: Deployment, job: JobRecord) -> None:
    """Have the state manager know the run; a job that ended before it was collected has nothing to count."""
    total = jobs.get(job.id).task_total
    if total is not None:
        deployment.state.initialise(job.ref, total)
