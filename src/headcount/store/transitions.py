"""The only writer of a job's status: one constructor per transition, each one conditional UPDATE.

Every function returns whether it made the transition; whoever loses a race does nothing. Why is recorded beside
where to, in the same transaction.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from headcount.domain.records import Event, JobRef, TaskCounts
from headcount.domain.states import OPEN_TASK_STATES, JobState, from_states
from headcount.domain.verdict import Verdict
from headcount.models import Certificate, Job, Task
from headcount.statements import write_transaction
from headcount.store import events, outbox


def pend(job: JobRef, now: datetime) -> bool:
    """CREATED → PENDING: the dispatcher has accepted the job."""
    return _move(job, JobState.PENDING, Event("job.pending", "handed to the dispatcher"), now)


def start(job: JobRef, now: datetime) -> bool:
    """CREATED, PENDING or RETRY → STARTED: a dispatcher has begun."""
    return _move(job, JobState.STARTED, Event("job.started", "a dispatcher began"), now, started_at=now)


def begin_cancel(job: JobRef, reason: str, now: datetime) -> bool:
    """Any running state → CANCELING: nothing is handed out from now on."""
    return _move(job, JobState.CANCELING, Event("job.canceling", reason), now)


def retry(job: JobRef, set_aside: int, event: Event, now: datetime) -> bool:
    """SUCCESS, FAILURE or REVOKED → CREATED, as the run after ``job``, with its outbox row.

    The certificate of the run that ended stays. ``set_aside`` tasks stay cancelled.
    """
    following = JobRef(job.job_id, job.run + 1)
    anew = {"started_at": None, "published_at": None, "finished_at": None}
    with write_transaction():
        ended = Job.objects.filter(pk=job.job_id, run=job.run)
        moved = _apply(ended, JobState.CREATED, run=following.run, set_aside=set_aside, **anew)
        if moved:
            outbox.add(following, outbox.DISPATCH, now)
            events.append(following, event, now)
    return moved


def hold(job: JobRef, states: Collection[JobState]) -> bool:
    """Keep a run where it stands until the transaction ends; returns whether that is in one of ``states``.

    Whoever is to change tasks because of where their job stands holds it first: tasks are locked after their job.
    """
    held = Job.objects.select_for_update(no_key=True).filter(pk=job.job_id, run=job.run, status__in=states)
    return held.values_list("pk").first() is not None


def finish(
    job: JobRef, verdict: Verdict, counts: TaskCounts, threshold: float, evidence: Mapping[str, Any], now: datetime
) -> bool:
    """Any running state → the verdict's final status, with the certificate and the outbox rows.

    SUCCESS and FAILURE are refused where ``counts`` have an open task, and before the total is known; REVOKED for the
    sake of open tasks when none is any more, unless the job is being cancelled.

    Args:
        job: the run to end.
        verdict: what was decided.
        counts: what it was decided on, read while the job was held (``hold``): an accounted task stays accounted then,
            because only a retry opens it again, which changes the job.
        threshold: the failure threshold of the decision.
        evidence: what else the certificate keeps.
        now: when it was decided.
    """
    with write_transaction():
        moved = _apply(_grounds(job, verdict.status, counts), verdict.status, finished_at=now)
        if moved:
            _certify(job, verdict, counts, threshold, evidence, now)
            outbox.add(job, outbox.CLEAN_UP, now)
            event = Event(
                "job.finished", f"{verdict.status}: {verdict.arithmetic}", evidence={"reason": verdict.reason}
            )
            events.append(job, event, now)
    return moved


def _move(job: JobRef, target: JobState, event: Event, now: datetime, **fields: object) -> bool:
    with write_transaction():
        moved = _apply(Job.objects.filter(pk=job.job_id, run=job.run), target, **fields)
        if moved:
            events.append(job, event, now)
    return moved


def _apply(candidates: QuerySet[Job], target: JobState, **fields: object) -> bool:
    return candidates.filter(status__in=from_states(target)).update(status=target, **fields) == 1


def _grounds(job: JobRef, target: JobState, counts: TaskCounts) -> QuerySet[Job]:
    """Return the job if what a verdict rests on still holds at the moment of writing."""
    candidates = Job.objects.filter(pk=job.job_id, run=job.run)
    if target is not JobState.REVOKED:
        return candidates.none() if counts.open else candidates.filter(task_total__isnull=False)
    if counts.open:
        open_tasks = Exists(Task.objects.filter(job_id=OuterRef("pk"), state__in=OPEN_TASK_STATES))
        return candidates.filter(open_tasks | Q(status=JobState.CANCELING))
    return candidates


def _certify(
    job: JobRef, verdict: Verdict, counts: TaskCounts, threshold: float, evidence: Mapping[str, Any], now: datetime
) -> None:
    Certificate.objects.create(
        job_id=job.job_id,
        run=job.run,
        status=verdict.status,
        arithmetic=verdict.arithmetic,
        reason=verdict.reason,
        threshold=threshold,
        evidence=dict(evidence),
        decided_at=now,
        **counts.by_state(),
    )
