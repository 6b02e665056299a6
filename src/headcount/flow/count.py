"""Count: tell the state manager what was accounted, and write the progress down."""

from collections.abc import Iterable, Iterator, Sequence

import structlog

from headcount import metrics
from headcount.domain.records import AccountedTask, JobRecord, JobRef, StageProgress
from headcount.domain.states import STATE_MANAGER_STAGES, TaskState
from headcount.domain.verdict import live_bound
from headcount.flow.forget import forget_if_ended
from headcount.ports.deployment import Deployment
from headcount.ports.state_manager import Mark, Snapshot, Unknown
from headcount.store import jobs, ledger, progress

_log = structlog.get_logger(__name__)
_COUNTED_STATES = (TaskState.SAVED, TaskState.FAILED)


def count(deployment: Deployment, job: JobRecord, tasks: Sequence[AccountedTask]) -> JobRef | None:
    """Tell the state manager that tasks are accounted; returns the run that can be ended now, None while there is none.

    Telling it twice changes nothing, so whoever is in doubt tells it again. A state manager that cannot testify is
    rebuilt from the ledger, unless the job has ended and needs none.

    Raises:
        EngineUnavailableError: the state manager does not answer; the ledger is ahead of it until it does.
    """
    marks = list(_marks((task.ordinal, task.failed) for task in tasks))
    answer = deployment.state.account(job.ref, marks)
    if isinstance(answer, Unknown):
        return _count_anew(deployment, job, marks)
    return _note(deployment, job, answer)


def _count_anew(deployment: Deployment, job: JobRecord, marks: Sequence[Mark]) -> JobRef | None:
    """Rebuild what was lost, one thread of this process at a time: whoever waited finds it there and counts on.

    Where the next run has begun meanwhile, its state is rebuilt: the marks may tell of failures that it takes up again.
    """
    with deployment.rebuilding.holding(job.ref):
        answer = deployment.state.account(job.ref, marks)
        if isinstance(answer, Unknown):
            current = jobs.get(job.id)
            if current.is_final:
                return None
            if current.ref == job.ref:
                _warn(job, answer)
            job, answer = current, rebuild(deployment, current)
            if forget_if_ended(deployment, job.ref):
                return None
    return _note(deployment, job, answer)


def _warn(job: JobRecord, answer: Unknown) -> None:
    _log.warning("state.fallback", job=job.id, reason=answer.reason, fallback="it is rebuilt from the ledger")
    metrics.state_fallbacks.labels(answer.silence).inc()


def rebuild(deployment: Deployment, job: JobRecord) -> Snapshot:
    """Replace what the state manager knows of a run by what the ledger says."""
    accounted = ((row.ordinal, row.state is TaskState.FAILED) for row in ledger.stream(job.id, _COUNTED_STATES))
    return deployment.state.rebuild_from(job.ref, job.task_total or ledger.size(job.id), _marks(accounted))


def progress_of(job: JobRecord) -> Iterator[StageProgress]:
    """Yield the progress of the counted stages as the ledger itself has it, for levelling the rows."""
    counts = ledger.counts(job.id)
    for stage in STATE_MANAGER_STAGES:
        yield StageProgress(stage, job.task_total, counts.saved, counts.failed)


def _marks(tasks: Iterable[tuple[int, bool]]) -> Iterator[Mark]:
    """A task is failed in both stages or done in both: no result of it was saved, or one was."""
    for ordinal, failed in tasks:
        for stage in STATE_MANAGER_STAGES:
            yield Mark(stage, ordinal, failed)


def _note(deployment: Deployment, job: JobRecord, snapshot: Snapshot) -> JobRef | None:
    """Write the progress down, not too often; returns the run where it can be ended."""
    now = deployment.clock()
    can_end = _is_done(job, snapshot) or _is_doomed(job, snapshot)
    if can_end or deployment.throttles.progress.allows(job.ref, now):
        progress.write(job.ref, snapshot.stages, now)
    return job.ref if can_end else None


def _is_done(job: JobRecord, snapshot: Snapshot) -> bool:
    """Tasks that an earlier run cancelled are never marked, and nobody does them."""
    stages = snapshot.stages
    return bool(stages) and all(
        stage.total is not None and stage.accounted + job.set_aside >= stage.total for stage in stages
    )


def _is_doomed(job: JobRecord, snapshot: Snapshot) -> bool:
    return job.fail_fast and any(
        not live_bound(stage.total or 0, stage.failed, job.failure_threshold).can_succeed for stage in snapshot.stages
    )
