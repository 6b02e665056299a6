"""Jobs: reading them, and the writes that are not their status."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q

from headcount.domain.records import Certificate, JobRecord, JobRef, TaskCounts
from headcount.domain.states import FINAL_STATES, WORKABLE_STATES, DispatchMode, JobState
from headcount.domain.verdict import FOLLOWED
from headcount.errors import NotFoundError
from headcount.models import Certificate as CertificateRow
from headcount.models import Job, Project
from headcount.statements import Statements, as_json, from_json, from_timestamp

_SQL = Statements("headcount.store.sql")
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class NewJob:
    """Everything a job is made of."""

    project_id: int
    pipeline_id: int | None
    name: str
    kind: str
    dispatch_mode: DispatchMode
    failure_threshold: float
    priority: int
    config: dict[str, Any] = field(default_factory=dict)
    fail_fast: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands: the run it is in, its status as it is written, and when it ended."""

    run: int
    status: str
    finished_at: datetime | None


def create(new: NewJob, now: datetime) -> JobRecord:
    """Make a job, CREATED."""
    job = Job.objects.create(
        project_id=new.project_id,
        pipeline_id=new.pipeline_id,
        name=new.name,
        kind=new.kind,
        dispatch_mode=new.dispatch_mode,
        failure_threshold=new.failure_threshold,
        priority=new.priority,
        config=new.config,
        fail_fast=new.fail_fast,
        created_at=now,
    )
    return get(job.pk)


def get(job_id: int, project_id: int | None = None) -> JobRecord:
    """Return a job; of one project only, where it is named.

    Raises:
        NotFoundError: there is no such job (in that project).
    """
    found = _SQL.rows("job", {"job_id": job_id}) if job_id <= _LARGEST_ID else []
    job = _raw_record(found[0]) if found else None
    if job is None or project_id not in {None, job.project_id}:
        raise NotFoundError(f"there is no job {job_id} here")
    return job


def find(condition: Q, *, limit: int, newest_first: bool = False) -> Sequence[JobRecord]:
    """Return jobs that meet a condition."""
    jobs = Job.objects.filter(condition).select_related("pipeline")
    return [_record(job) for job in jobs.order_by("-id" if newest_first else "id")[:limit]]


def claimable(project_id: int, slugs: Iterable[str], *, limit: int = 100) -> Sequence[JobRecord]:
    """Return jobs whose tasks workers of a project may claim for these pipelines, by priority."""
    parameters = {"project_id": project_id, "slugs": as_json(list(slugs)), "limit": limit}
    return [_raw_record(row) for row in _SQL.rows("claimable", parameters)]


def running(limit: int = 10_000) -> Sequence[JobRecord]:
    """Return every job that has not ended, oldest first."""
    return find(~Q(status__in=FINAL_STATES), limit=limit)


def running_ids(after: int, limit: int) -> Sequence[int]:
    """Return the ids above ``after`` of jobs that have not ended, lowest first."""
    running = Job.objects.filter(~Q(status__in=FINAL_STATES), pk__gt=after)
    return list(running.order_by("pk").values_list("pk", flat=True)[:limit])


def set_task_total(job_id: int, run: int, total: int) -> None:
    """Note that collecting is complete; the first total stays."""
    Job.objects.filter(pk=job_id, run=run, task_total__isnull=True).update(task_total=total)


def standings(ids: Sequence[int]) -> Mapping[int, Standing]:
    """Return where jobs stand, by id, as far as they exist."""
    rows = Job.objects.filter(pk__in=ids).values_list("pk", "run", "status", "finished_at")
    return {job_id: Standing(run, status, finished_at) for job_id, run, status, finished_at in rows}


def lock_collecting(job: JobRef) -> bool:
    """Keep every other dispatcher from collecting until the transaction ends; returns whether tasks may be written.

    They may not once the total is noted, nor for a run that nobody wants any more. Whoever reads the job does not wait.
    """
    wanted = Job.objects.filter(pk=job.job_id, run=job.run, task_total__isnull=True, status__in=WORKABLE_STATES)
    return bool(wanted.select_for_update(no_key=True).values_list("pk"))


def set_published(job_id: int, run: int, now: datetime) -> None:
    """Note that every task was put in the queue."""
    Job.objects.filter(pk=job_id, run=run, published_at__isnull=True).update(published_at=now)


def status_of(job_id: int) -> JobState | None:
    """Return where a job stands at this moment, None for a job that is gone or a word nobody knows."""
    return JobState.parse(Job.objects.filter(pk=job_id).values_list("status", flat=True).first())


def certificates(job_id: int) -> Sequence[Certificate]:
    """Return the verdicts of a job, one for each run that ended."""
    return [_certificate(row) for row in CertificateRow.objects.filter(job_id=job_id).order_by("run")]


def ensure_project(name: str) -> int:
    """Return the id of the project of this name, making it if need be."""
    return int(Project.objects.get_or_create(name=name)[0].pk)


def _record(job: Job) -> JobRecord:
    return JobRecord(
        id=job.pk,
        run=job.run,
        kind=job.kind,
        name=job.name,
        project_id=job.project_id,
        pipeline=job.pipeline.slug if job.pipeline else None,
        dispatch_mode=DispatchMode(job.dispatch_mode),
        status=job.status,
        task_total=job.task_total,
        published=job.published_at is not None,
        failure_threshold=job.failure_threshold,
        priority=job.priority,
        config=job.config,
        created_at=job.created_at,
        finished_at=job.finished_at,
        fail_fast=job.fail_fast,
        set_aside=job.set_aside,
    )


def _raw_record(row: tuple[Any, ...]) -> JobRecord:
    """The hot path's way to a job: the ORM takes ten times as long to compile the same query."""
    return JobRecord(
        id=row[0],
        run=row[1],
        kind=row[2],
        name=row[3],
        project_id=row[4],
        pipeline=row[5],
        dispatch_mode=DispatchMode(row[6]),
        status=row[7],
        task_total=row[8],
        published=bool(row[9]),
        failure_threshold=row[10],
        priority=row[11],
        config=from_json(row[12]),
        created_at=from_timestamp(row[13]),
        finished_at=from_timestamp(row[14]),
        fail_fast=bool(row[15]),
        set_aside=row[16],
    )


def _certificate(row: CertificateRow) -> Certificate:
    counts = TaskCounts(row.waiting, row.leased, row.received, row.saved, row.failed, row.cancelled)
    return Certificate(
        run=row.run,
        status=JobState(row.status),
        arithmetic=row.arithmetic,
        reason=row.reason,
        counts=counts,
        threshold=row.threshold,
        decided_at=row.decided_at,
        follows_dispatcher=FOLLOWED in row.evidence,
    )
