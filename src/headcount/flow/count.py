"""Count: tell the state manager what was accounted, and write the progress down."""

from collections.abc import Iterable, Iterator, Sequence

import structlog

from headcount import metrics
from headcount.domain.records import AccountedTask, JobRecord, StageProgress
from headcount.domain.states import STATE_MANAGER_STAGES, TaskState
from headcount.flow.forget import forget_if_ended
from headcount.ports.deployment import Deployment
from headcount.ports.state_manager import Mark, Snapshot, Unknown
from headcount.store import jobs, ledger, progress

_log = structlog.get_logger(__name__)
_COUNTED_STATES = (TaskState.SAVED, TaskState.FAILED)


def count(deployment: Deployment, job: JobRecord, tasks: Sequence[AccountedTask]) -> bool:
    """Tell the state manager that tasks are accounted; returns whether every task of the run now is.

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


def _count_anew(deployment: Deployment, job: JobRecord, marks: Sequence[Mark]) -> bool:
    """Rebuild what was lost, one thread of this process at a time: whoever waited finds it there and counts on."""
    with deployment.rebuilding.holding(job.ref):
        answer = deployment.state.account(job.ref, marks)
        if isinstance(answer, Unknown):
            if jobs.get(job.id).is_final:
                return False
            _warn(job, answer)
            answer = rebuild(deployment, job)
            if forget_if_ended(deployment, job.ref):
                return False
    return _note(deployment, job, answer)


def _warn(job: JobRecord, answer: Unknown) -> None:
    _log.warning("state.fallback", job=job.id, reason=answer.reason, used_instead="the ledger")
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


def _note(deployment: Deployment, job: JobRecord, snapshot: Snapshot) -> bool:
    """Write the progress down, not too often; returns whether every task is accounted."""
    now = deployment.clock()
    if snapshot.all_tasks_processed or deployment.throttles.progress.allows(job.ref, now):
        progress.write(job.ref, snapshot.stages, now)
    return snapshot.all_tasks_processed
