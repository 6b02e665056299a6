"""Which jobs hand out tasks, to whom, and in which order; found by their index."""

from copy import copy
from itertools import product

import pytest
from django.db import connection, transaction

from headcount.domain.states import FINAL_STATES, WORKABLE_STATES, DispatchMode, JobState
from headcount.models import Job
from headcount.statements import _text, as_json
from headcount.store import jobs, registry
from headcount.testing.factories import EPOCH, PIPELINE, make_job, make_project

pytestmark = pytest.mark.django_db


def claimable(project_id: int, *slugs: str, limit: int = 100) -> list[int]:
    return [job.id for job in jobs.claimable(project_id, slugs or (PIPELINE,), limit=limit)]


@pytest.mark.parametrize(("state", "mode"), list(product(JobState, DispatchMode)))
@pytest.mark.parametrize("total", [None, 3])
def test_jobs_hand_out_tasks_while_they_are_worked_on_by_pull_workers_and_collected(
    state: JobState, mode: DispatchMode, total: int | None
) -> None:
    job = make_job(dispatch_mode=mode)
    finished_at = EPOCH if state in FINAL_STATES else None
    Job.objects.filter(pk=job.id).update(status=state, finished_at=finished_at, task_total=total)
    hands_out = state in WORKABLE_STATES and mode is DispatchMode.ASYNC_API and total is not None
    assert claimable(job.project_id) == ([job.id] if hands_out else [])


def handing_out(**fields: object) -> int:
    job = make_job(**fields)
    Job.objects.filter(pk=job.id).update(status=JobState.STARTED, task_total=3)
    return job.id


def test_workers_get_jobs_of_their_project_and_their_pipelines() -> None:
    project_id, other = make_project(), make_project()
    registry.register(project_id, "second", [registry.PipelineOffer("second", "second", "1")], EPOCH)
    mine, second, _ = (
        handing_out(project_id=project_id),
        handing_out(project_id=project_id, pipeline_id=registry.pipeline_id(project_id, "second")),
        handing_out(project_id=other),
    )
    assert claimable(project_id) == [mine]
    assert claimable(project_id, "second") == [second]
    assert claimable(project_id, "second", PIPELINE, "unknown") == [mine, second]
    assert claimable(project_id, "unknown") == []


def test_the_most_urgent_come_first_then_the_oldest() -> None:
    project_id = make_project()
    usual, urgent, low, usual_again = (handing_out(project_id=project_id, priority=n) for n in (0, 7, -1, 0))
    assert claimable(project_id) == [urgent, usual, usual_again, low]
    assert claimable(project_id, limit=2) == [urgent, usual]


def test_a_job_is_read_as_it_is_by_its_id() -> None:
    job_id = handing_out(config={"tasks": 3, "größe": [1, None]}, fail_fast=True, failure_threshold=0.25)
    assert jobs.claimable(jobs.get(job_id).project_id, [PIPELINE]) == [jobs.get(job_id)]


def copy_of(row: Job) -> Job:
    copied = copy(row)
    copied.pk = None
    return copied


def test_jobs_that_have_ended_are_not_read() -> None:
    ended = make_job()
    Job.objects.filter(pk=ended.id).update(status=JobState.SUCCESS, finished_at=EPOCH)
    row = Job.objects.get(pk=ended.id)
    Job.objects.bulk_create([copy_of(row) for _ in range(300)])
    statement = _text("headcount.store.sql", connection.vendor, "claimable")
    parameters = {"project_id": row.project_id, "slugs": as_json([PIPELINE]), "limit": 100}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ANALYZE headcount_job")
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {statement}", parameters)
        plan = "\n".join(str(row) for row in cursor.fetchall())
    assert "headcount_job_running" in plan
