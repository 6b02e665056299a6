"""Rows and records for tests, each with a default for everything that a test does not care about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from headcount.clock import Clock
from headcount.conf import Settings
from headcount.domain.records import JobRecord, JobRef, LeasedTask, TaskSpec
from headcount.domain.states import DispatchMode
from headcount.ports.deployment import Deployment
from headcount.ports.job_kind import JobKind
from headcount.store import jobs, ledger, registry, transitions
from headcount.testing.kinds import NoteKind
from headcount.testing.memory import MemoryDispatcher, MemoryStateManager, MemoryTaskQueue

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When everything happens, unless a test says otherwise."""

PIPELINE = "notes"
"""The pipeline that ``make_project`` registers."""

_numbers = count(1)


def make_project() -> int:
    """Make a project of its own with a service that offers the pipeline ``notes``; returns its id."""
    project_id = jobs.ensure_project(f"project {next(_numbers)}")
    registry.register(project_id, "service", [registry.PipelineOffer(PIPELINE, PIPELINE, "1")], EPOCH)
    return project_id


def make_job(project_id: int | None = None, **fields: Any) -> JobRecord:
    """Make a job, CREATED, of ``NoteKind`` in ``async_api`` mode unless ``fields`` say otherwise."""
    project_id = make_project() if project_id is None else project_id
    new = jobs.NewJob(
        project_id=project_id,
        pipeline_id=registry.pipeline_id(project_id, PIPELINE),
        name="a job",
        kind=NoteKind.name,
        dispatch_mode=DispatchMode.ASYNC_API,
        failure_threshold=0.5,
        priority=0,
    )
    return jobs.create(replace(new, **fields), EPOCH)


def make_started_job(tasks: int, project_id: int | None = None, **fields: Any) -> JobRecord:
    """Make a job that is STARTED, with ``tasks`` waiting tasks ``k0``, ``k1`` … and its total noted."""
    job = make_job(project_id, **{"config": {"tasks": tasks}, **fields})
    transitions.start(job.ref, EPOCH)
    ledger.collect(job.id, 0, specs(tasks))
    jobs.set_task_total(job.id, job.run, tasks)
    return jobs.get(job.id)


def specs(number: int, payload: Mapping[str, Any] | None = None) -> list[TaskSpec]:
    """Return ``number`` tasks as a kind collects them, keyed ``k0``, ``k1`` …."""
    return [TaskSpec(f"k{ordinal}", payload or {"number": ordinal}) for ordinal in range(number)]


def lease(
    job: JobRecord | JobRef, ordinals: Sequence[int], *, worker: str = "worker", max_attempts: int = 5
) -> list[LeasedTask]:
    """Hand tasks to a worker for the thirty seconds after the epoch."""
    job_id = job.id if isinstance(job, JobRecord) else job.job_id
    leased_until = EPOCH + timedelta(seconds=30)
    return ledger.begin_attempts(job_id, ordinals, worker=worker, leased_until=leased_until, max_attempts=max_attempts)


def memory_deployment(settings: Settings, clock: Clock, kind: JobKind | None = None) -> Deployment:
    """Put a deployment together whose engines are in memory and whose only kind is ``kind``."""
    kind = kind or NoteKind()
    return Deployment(
        queue=MemoryTaskQueue(),
        state=MemoryStateManager(),
        dispatcher=MemoryDispatcher(settings.dispatch_attempts),
        kinds={kind.name: kind},
        clock=clock,
        settings=settings,
    )
