"""A job's detections are summed up from its batches, those saved before there was such a sum too."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from headcount_images.models import Detection, SavedBatch
from tests.flow import given

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = [("headcount_images", "0001_initial")]
AFTER = [("headcount_images", "0002_saved_batches")]


def migrate(targets):
    MigrationExecutor(connection).migrate(targets)


@pytest.fixture
def latest():
    yield
    migrate(AFTER)


def posted_in_batches_of(size, deployment, job, tasks):
    for start in range(0, len(tasks), size):
        given.posted(deployment, job, [given.success(task) for task in tasks[start : start + size]])


def named(deployment, job):
    return deployment.kind("ml").named_counts(job.id)


def test_each_batch_is_a_row_whatever_the_number_of_its_detections(deployment):
    job = given.dispatched(deployment, 7)
    posted_in_batches_of(3, deployment, job, given.claimed(deployment, job))
    assert list(SavedBatch.objects.values_list("detections", flat=True)) == [6, 6, 2]
    assert named(deployment, job) == {"detections": 14}


def test_a_batch_without_detections_leaves_no_row(deployment):
    job = given.dispatched(deployment, 1)
    [task] = given.claimed(deployment, job)
    given.posted(deployment, job, [given.success(task, detections=0)])
    assert not SavedBatch.objects.exists()


def test_results_posted_twice_are_summed_up_once(deployment):
    job = given.dispatched(deployment, 3)
    tasks = given.claimed(deployment, job, 2)
    posted_in_batches_of(2, deployment, job, [*tasks, *tasks])
    assert named(deployment, job) == {"detections": 4}


def test_a_job_without_results_has_no_detections(deployment):
    assert named(deployment, given.dispatched(deployment, 1)) == {"detections": 0}


def test_what_was_saved_before_is_summed_up_when_the_tables_are_brought_up_to_date(deployment, latest):
    project_id = given.project()
    jobs = [given.dispatched(deployment, tasks, project_id) for tasks in (1, 4)]
    for job in jobs:
        posted_in_batches_of(2, deployment, job, given.claimed(deployment, job))
    before = [named(deployment, job) for job in jobs]
    migrate(BEFORE)
    assert Detection.objects.count() == 10
    migrate(AFTER)
    assert [named(deployment, job) for job in jobs] == before == [{"detections": 2}, {"detections": 8}]
