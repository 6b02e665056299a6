"""Jobs with something the matter, one for each remedy, and what an observer saw of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection

from headcount.domain.records import JobRecord, StageProgress
from headcount.domain.states import STATE_MANAGER_STAGES, DispatchMode, JobState, Stage
from headcount.engines.database.models import Dispatch, QueueMessage, RunState, StateMark
from headcount.flow.finalise import finalise
from headcount.health.apply import REPAIRS
from headcount.health.finding import Condition, Finding, Policy, Remedy
from headcount.health.observation import LedgerTestimony, Observation, WorkersTestimony
from headcount.health.repairs.ground import event_name
from headcount.models import Job, JobEvent, JobStage, Task
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger, progress, transitions
from tests.flow.given import claimed, dispatched, posted, submitted, success

Check = Callable[[], None]

REPAIR_EVENTS = frozenset(event_name(remedy) for remedy in REPAIRS)
"""The names of all events that any repair leaves."""


@dataclass(frozen=True)
class Damaged:
    """A job, what was seen of it, and what must hold once it is repaired."""

    job: JobRecord
    observation: Observation
    finding: Finding
    repaired: Check


def seen(deployment: Deployment, job: JobRecord) -> Observation:
    """What the witnesses say now."""
    return Observation(
        job=jobs.get(job.id),
        ledger=LedgerTestimony(ledger.counts(job.id)),
        state=deployment.state.snapshot(job.ref),
        queue=deployment.queue.depth(job.ref),
        dispatcher=deployment.dispatcher.testimony(job.ref),
        workers=WorkersTestimony(0),
        progress=progress.of(job.id),
    )


def finding(condition: Condition, remedy: Remedy, outcome: JobState | None = None) -> Finding:
    """A finding as ``decide`` makes them."""
    return Finding(condition, remedy, f"It is {condition}.", {"ledger": {"saved": 1}}, outcome=outcome)


def repair_events(job: JobRecord) -> list[str]:
    """What a job's log tells of remedies, oldest first."""
    told = JobEvent.objects.filter(name__in=REPAIR_EVENTS, job_id=job.id)
    return list(told.order_by("id").values_list("name", flat=True))


def everything() -> dict[str, list[Any]]:
    """Every row of every table."""
    with connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names(cursor) if name.startswith("headcount")]
        found = {}
        for table in sorted(tables):
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
            found[table] = cursor.fetchall()
    return found


def has_status(job: JobRecord, status: str) -> Check:
    """Check that the job ended so, once, with a certificate."""

    def check() -> None:
        assert jobs.get(job.id).status == status
        assert [item.status for item in jobs.certificates(job.id)] == [status]
        assert JobEvent.objects.filter(job_id=job.id, name="job.finished").count() == 1

    return check


def _all_saved(deployment: Deployment) -> JobRecord:
    """A job whose last result was saved by a process that died then: the rows say so, and nobody else knows."""
    job = dispatched(deployment, 3)
    claimed(deployment, job)
    a_while_ago = deployment.clock() - Policy().finish_within
    Task.objects.filter(job_id=job.id).update(state="saved", leased_until=None, accounted_at=a_while_ago)
    return job


def finished(deployment: Deployment) -> Damaged:
    job = _all_saved(deployment)
    found = finding(Condition.FINISHED_NOT_FINALISED, Remedy.FINALISE, JobState.SUCCESS)
    return Damaged(job, seen(deployment, job), found, has_status(job, "SUCCESS"))


def cancelling(deployment: Deployment) -> Damaged:
    job = dispatched(deployment, 2)
    transitions.begin_cancel(job.ref, "cancelled on request", deployment.clock())

    def check() -> None:
        has_status(job, "REVOKED")()
        assert ledger.counts(job.id).cancelled == 2

    return Damaged(job, seen(deployment, job), finding(Condition.CANCEL_NOT_FINISHED, Remedy.FINISH_CANCEL), check)


def progress_behind(deployment: Deployment) -> Damaged:
    job = dispatched(deployment, 4)
    posted(deployment, job, [success(task) for task in claimed(deployment, job, 2)])
    JobStage.objects.filter(job_id=job.id, stage__in=STATE_MANAGER_STAGES).update(done=0)

    def check() -> None:
        assert [(stage.done, stage.failed) for stage in progress.of(job.id).stages[1:]] == [(2, 0)] * 2

    return Damaged(job, seen(deployment, job), finding(Condition.PROGRESS_BEHIND, Remedy.LEVEL_PROGRESS), check)


def state_lost(deployment: Deployment) -> Damaged:
    job = dispatched(deployment, 4)
    posted(deployment, job, [success(task) for task in claimed(deployment, job, 2)])
    RunState.objects.all().delete()
    StateMark.objects.all().delete()

    def check() -> None:
        stages = deployment.state.snapshot(job.ref).stages
        assert [(stage.total, stage.done, stage.failed) for stage in stages] == [(4, 2, 0)] * 2

    return Damaged(job, seen(deployment, job), finding(Condition.STATE_LOST, Remedy.REBUILD_STATE), check)


def tasks_lost(deployment: Deployment) -> Damaged:
    job = dispatched(deployment, 5)
    QueueMessage.objects.filter(job_id=job.id, ordinal__in=[1, 3]).delete()

    def check() -> None:
        assert [task.task.ordinal for task in claimed(deployment, job)] == [0, 1, 2, 3, 4]

    return Damaged(job, seen(deployment, job), finding(Condition.LOST_TASKS, Remedy.REPUBLISH), check)


def tasks_spent(deployment: Deployment) -> Damaged:
    job = dispatched(deployment, 4)
    Task.objects.filter(job_id=job.id, ordinal__in=[0, 2]).update(attempts=deployment.settings.max_attempts)

    def check() -> None:
        counts = ledger.counts(job.id)
        assert (counts.failed, counts.open) == (2, 2)
        assert JobEvent.objects.filter(job_id=job.id, name="tasks.lost").count() == 1

    return Damaged(job, seen(deployment, job), finding(Condition.SPENT_TASKS, Remedy.FAIL_SPENT), check)


def dispatch_lost(deployment: Deployment) -> Damaged:
    job = submitted(deployment, 2)
    Dispatch.objects.all().delete()

    def check() -> None:
        assert Dispatch.objects.filter(job_id=job.id, state="PENDING").count() == 1

    return Damaged(job, seen(deployment, job), finding(Condition.DISPATCHER_DIED, Remedy.RESUME_DISPATCH), check)


def dispatch_failed(deployment: Deployment) -> Damaged:
    """A job that its dispatcher does itself; the dispatcher says that it failed, with two tasks open."""
    job = dispatched(deployment, 3)
    Job.objects.filter(pk=job.id).update(dispatch_mode=DispatchMode.SYNC_API)
    Dispatch.objects.filter(job_id=job.id).update(state="FAILURE", error="the service is gone")
    found = finding(Condition.DISPATCHER_DIED, Remedy.FOLLOW_DISPATCHER, JobState.FAILURE)

    def check() -> None:
        has_status(job, "FAILURE")()
        assert ledger.counts(job.id).failed == 3

    return Damaged(job, seen(deployment, job), found, check)


def only_progress(deployment: Deployment) -> Damaged:
    job = dispatched(deployment, 3)
    progress.write(job.ref, [StageProgress(stage, 3, 3) for stage in Stage], deployment.clock())
    Task.objects.filter(job_id=job.id).delete()
    RunState.objects.all().delete()
    found = finding(Condition.FINISHED_NOT_FINALISED, Remedy.FOLLOW_PROGRESS, JobState.SUCCESS)
    return Damaged(job, seen(deployment, job), found, has_status(job, "SUCCESS"))


def hopeless(deployment: Deployment) -> Damaged:
    job = dispatched(deployment, 3)
    found = finding(Condition.STALLED, Remedy.REVOKE, JobState.REVOKED)
    return Damaged(job, seen(deployment, job), found, has_status(job, "REVOKED"))


def left_over(deployment: Deployment) -> Damaged:
    job = _all_saved(deployment)
    finalise(deployment, job.ref)
    deployment.queue.publish(job.ref, [0, 1])
    deployment.state.initialise(job.ref, 3)
    observation = replace(seen(deployment, job), leftovers={"queue": "2 messages"})

    def check() -> None:
        assert not QueueMessage.objects.filter(job_id=job.id).exists()
        assert not RunState.objects.filter(job_id=job.id).exists()

    return Damaged(job, observation, finding(Condition.ORPHANS, Remedy.CLEAN_UP), check)


DAMAGE: Mapping[Remedy, Callable[[Deployment], Damaged]] = {
    Remedy.FINALISE: finished,
    Remedy.FINISH_CANCEL: cancelling,
    Remedy.LEVEL_PROGRESS: progress_behind,
    Remedy.REBUILD_STATE: state_lost,
    Remedy.REPUBLISH: tasks_lost,
    Remedy.FAIL_SPENT: tasks_spent,
    Remedy.RESUME_DISPATCH: dispatch_lost,
    Remedy.FOLLOW_DISPATCHER: dispatch_failed,
    Remedy.FOLLOW_PROGRESS: only_progress,
    Remedy.REVOKE: hopeless,
    Remedy.CLEAN_UP: left_over,
}
"""One damage for each remedy there is."""
