"""Collect: write a job's tasks into the ledger, resumably."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from django.db import IntegrityError

from headcount.domain.records import Event, JobRecord, StageProgress, TaskSpec
from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.errors import TemporaryError
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import Checkpoint, never_interrupted
from headcount.statements import write_transaction
from headcount.store import events, jobs, ledger, progress

CHUNK = 2000
"""Tasks in one statement: large enough that round trips do not count, small enough to resume cheaply."""


def collect(deployment: Deployment, job: JobRecord, checkpoint: Checkpoint = never_interrupted) -> int:
    """Write every task of a job and note how many there are; returns that total.

    A dispatcher killed halfway has left whole chunks; the next one goes on behind them, even while the first, that
    was only thought dead, still writes. The total is noted only when all tasks are there, so that a part never looks
    like the whole.
    """
    if job.task_total is not None:
        return job.task_total
    size = ledger.size(job.id)
    alone = size == 0
    for chunk in _chunks(deployment.kind(job.kind).collect(job)):
        checkpoint()
        alone = alone and _write(job, size, chunk) == len(chunk)
        size = size + len(chunk) if alone else _collect_missing(job, chunk)
        progress.write(job.ref, [StageProgress(Stage.COLLECT, None, size)], deployment.clock())
    checkpoint()
    _note_total(deployment, job, size)
    return size


def _collect_missing(job: JobRecord, chunk: Sequence[TaskSpec]) -> int:
    """Write what the ledger does not hold yet behind what it does; returns how many tasks it holds then.

    The size is read before the keys: where another dispatcher writes in between, this one's ordinals are taken, its
    tasks are left out, and the next look finds what is still missing.
    """
    while True:
        size = ledger.size(job.id)
        missing = _not_collected(job, chunk)
        if not missing:
            # Not the size of before: the tasks that are there now may have come since.
            return ledger.size(job.id)
        _write(job, size, missing)


def _write(job: JobRecord, start: int, specs: Sequence[TaskSpec]) -> int:
    """Write tasks; returns how many are new. PostgreSQL refuses keys that another dispatcher writes this very moment.

    Raises:
        TemporaryError: nothing was written; the run can be taken up again where the ledger ends.
    """
    try:
        return ledger.collect(job.id, start, specs)
    except IntegrityError as error:
        raise TemporaryError(
            f"job {job.id} is being collected by another dispatcher, or its kind yields a key twice: {error}"
        ) from error


def _chunks(specs: Iterable[TaskSpec]) -> Iterator[list[TaskSpec]]:
    iterator = iter(specs)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _not_collected(job: JobRecord, chunk: Sequence[TaskSpec]) -> list[TaskSpec]:
    known = ledger.known_keys(job.id, [spec.key for spec in chunk])
    return [spec for spec in chunk if spec.key not in known]


def _note_total(deployment: Deployment, job: JobRecord, total: int) -> None:
    now = deployment.clock()
    deployment.state.initialise(job.ref, total)
    with write_transaction():
        jobs.set_task_total(job.id, job.run, total)
        collected = StageProgress(Stage.COLLECT, total, total)
        progress.write(job.ref, [collected, *[StageProgress(stage, total) for stage in STATE_MANAGER_STAGES]], now)
        events.append(job.ref, Event("job.collected", f"{total} tasks collected"), now)
