"""Testimonies: what the rows say of a page of jobs. Each function is one statement, however many jobs there are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headcount.domain.records import JobProgress, JobRef, StageProgress, TaskCounts
from headcount.domain.states import Stage
from headcount.models import JobStage
from headcount.statements import Statements, as_json, from_timestamp

_SQL = Statements("headcount.store.sql")


@dataclass(frozen=True, slots=True)
class TaskSums:
    """What the task rows of a job add up to.

    Attributes:
        counts: how many stand where.
        unheld: open tasks that no running lease covers.
        spent: unheld tasks whose attempts are used up; releases are no attempts.
        most_attempts: the most attempts that any open task has behind it.
        attempts: how often any task was handed out, in all.
        last_lease_ends_at: when the last lease ends or ended; None where none was left standing.
        last_saved_at: when the last result was saved.
        last_accounted_at: when the last task came to its end, whichever.
    """

    counts: TaskCounts = field(default_factory=TaskCounts)
    unheld: int = 0
    spent: int = 0
    most_attempts: int = 0
    attempts: int = 0
    last_lease_ends_at: datetime | None = None
    last_saved_at: datetime | None = None
    last_accounted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """Who offers a pipeline: how many workers were seen since a moment, and when the last one was."""

    seen: int
    last_seen_at: datetime | None


def of_ledger(
    jobs: Sequence[JobRef], *, max_attempts: int, now: datetime, latest: datetime
) -> Mapping[JobRef, TaskSums]:
    """Add up the task rows of each job, which are there once for all its runs; no rows add up to nothing.

    A lease runs that ends after ``now``, and not after ``latest``, where no lease ends.
    """
    job_ids = as_json([job.job_id for job in jobs])
    parameters = {"jobs": job_ids, "max_attempts": max_attempts, "now": now, "latest": latest}
    found = {job_id: _sums(sums, latest) for job_id, *sums in _SQL.rows("testify_for_jobs", parameters)}
    return {job: found.get(job.job_id, TaskSums()) for job in jobs}


def of_workers(project_ids: Sequence[int], *, since: datetime) -> Mapping[tuple[int, str], Offer]:
    """Return who offers each pipeline, by project and slug; a pipeline that nobody ever offered is left out."""
    rows = _SQL.rows("workers_by_pipeline", {"projects": as_json(sorted(set(project_ids))), "since": since})
    return {(project_id, slug): Offer(seen, from_timestamp(last)) for project_id, slug, last, seen in rows}


def of_progress(jobs: Sequence[JobRef]) -> Mapping[JobRef, JobProgress]:
    """Return the progress of each run as it is written down, in the order of the stages; not that of another run."""
    rows: dict[JobRef, dict[str, JobStage]] = defaultdict(dict)
    for row in JobStage.objects.filter(job_id__in=[job.job_id for job in jobs]):
        rows[JobRef(row.job_id, row.run)][row.stage] = row
    return {job: _progress(rows[job]) for job in jobs}


def _sums(row: Sequence[Any], latest: datetime) -> TaskSums:
    *by_state, unheld, spent, most_attempts, attempts, last_lease_ends_at, last_saved_at, last_accounted_at = row
    ends_at = from_timestamp(last_lease_ends_at)
    return TaskSums(
        counts=TaskCounts(*by_state),
        unheld=unheld,
        spent=spent,
        most_attempts=most_attempts,
        attempts=int(attempts),
        last_lease_ends_at=None if ends_at is None or ends_at > latest else ends_at,
        last_saved_at=from_timestamp(last_saved_at),
        last_accounted_at=from_timestamp(last_accounted_at),
    )


def _progress(rows: Mapping[str, JobStage]) -> JobProgress:
    stages = [(stage, rows[stage]) for stage in Stage if stage in rows]
    return JobProgress(tuple(StageProgress(stage, row.total, row.done, row.failed) for stage, row in stages))
