"""Retry: take a job that has ended up again, as its next run, with the tasks that are not done."""

from collections.abc import Iterator

from headcount.domain.records import Event, JobRecord, JobRef, StageProgress, TaskCounts
from headcount.domain.states import (
    FINAL_STATES,
    OPEN_TASK_STATES,
    STATE_MANAGER_STAGES,
    DispatchMode,
    JobState,
    Redo,
    Stage,
    TaskState,
)
from headcount.errors import ConflictError
from headcount.flow.push import check_can_be_pushed
from headcount.flow.relay import relay
from headcount.ports.deployment import Deployment
from headcount.statements import write_transaction
from headcount.store import jobs, ledger, progress, transitions


def retry(deployment: Deployment, job_id: int, only: Redo = Redo.FAILED, project_id: int | None = None) -> JobRecord:
    """Start the next run of a job that has ended; returns the job as it stands after.

    What is saved stays saved and is not done again; the verdicts of earlier runs stay. Attempts are counted anew.
    Results of the run before that come late are welcome while their task is open, its failures are not.

    Args:
        deployment: the engines.
        job_id: the job.
        only: ``failed`` takes up the tasks that failed or are still open, and those that failing fast cancelled;
            ``unfinished`` takes up whatever else was cancelled too.
        project_id: the project the job must belong to, where the caller is bound to one.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: the job has not ended, or there is nothing to retry.
        BadInputError: it is a ``sync_api`` job that nobody could do as the deployment stands.
    """
    job = jobs.get(job_id, project_id)
    if not job.is_final:
        raise ConflictError(
            f"job {job_id} is {job.status}: only a job that has ended can be retried; cancel it or wait"
        )
    relay(deployment, _begin_next_run(deployment, job, only))
    return jobs.get(job_id)


def _begin_next_run(deployment: Deployment, job: JobRecord, only: Redo) -> JobRef:
    following = JobRef(job.id, job.run + 1)
    now = deployment.clock()
    with write_transaction():
        _hold(job)
        reopened = ledger.reopen(job.id, _states_to_redo(job, only))
        counts = ledger.counts(job.id)
        _refuse_if_futile(job, counts, reopened)
        if job.dispatch_mode is DispatchMode.SYNC_API:
            check_can_be_pushed(deployment, job.project_id, job.pipeline or "")
        event = Event(
            "job.retried",
            f"run {following.run}: {reopened} tasks are to be done",
            evidence=_evidence(job, only, counts),
        )
        transitions.retry(job.ref, counts.cancelled, event, now)
        progress.write(following, _stages(job, counts), now)
    return following


def _hold(job: JobRecord) -> None:
    if not transitions.hold(job.ref, FINAL_STATES):
        raise ConflictError(f"job {job.id} is being retried already; look with 'headcount show {job.id}'")


def _states_to_redo(job: JobRecord, only: Redo) -> frozenset[TaskState]:
    failed_fast = job.fail_fast and job.state is JobState.FAILURE
    cancelled = {TaskState.CANCELLED} if only is Redo.UNFINISHED or failed_fast else set()
    return OPEN_TASK_STATES | {TaskState.FAILED} | cancelled


def _refuse_if_futile(job: JobRecord, counts: TaskCounts, reopened: int) -> None:
    """A job that was never collected whole has tasks to do even where the ledger holds none of them yet."""
    if job.task_total is None and not counts.cancelled:
        return
    if job.task_total is None:
        raise ConflictError(f"job {job.id} was cancelled before it was collected whole; retry it as {Redo.UNFINISHED}")
    if not reopened and counts.cancelled:
        raise ConflictError(
            f"job {job.id} has nothing to retry: no task failed or is open; "
            f"retry it as {Redo.UNFINISHED} to take up the {counts.cancelled} that were cancelled"
        )
    if not reopened:
        raise ConflictError(
            f"job {job.id} has nothing to retry: all of its {counts.total} tasks are saved; submit a new job"
        )


def _evidence(job: JobRecord, only: Redo, counts: TaskCounts) -> dict[str, object]:
    return {"ended": job.status, "only": only, "ledger": counts.by_state(), "task_total": job.task_total}


def _stages(job: JobRecord, counts: TaskCounts) -> Iterator[StageProgress]:
    yield StageProgress(Stage.COLLECT, job.task_total, counts.total)
    for stage in STATE_MANAGER_STAGES:
        yield StageProgress(stage, job.task_total, counts.saved)
