"""Jobs from submission to verdict."""

import pytest

from headcount.domain.states import JobState
from headcount.flow.claim import Claimer, claim_any
from headcount.flow.run_job import run_job
from headcount.store import jobs, ledger
from tests.flow import given
from tests.flow.given import assert_ended, claimed, dispatched, failure, posted, submitted, success

pytestmark = pytest.mark.django_db


def done_in_batches(deployment, job, size):
    while tasks := claimed(deployment, job, size):
        assert set(posted(deployment, job, [success(task) for task in tasks])) == {"saved"}


def test_a_job_of_no_tasks_succeeds_without_a_worker(deployment):
    job = dispatched(deployment, 0)
    assert_ended(deployment, job, "SUCCESS")


def test_a_job_of_one_task_succeeds_in_the_request_that_brings_its_result(deployment):
    job = dispatched(deployment, 1)
    assert jobs.get(job.id).status == "STARTED"
    (task,) = claimed(deployment, job)
    assert posted(deployment, job, [success(task)]) == ["saved"]
    assert_ended(deployment, job, "SUCCESS", saved=1)


@pytest.mark.django_db(transaction=True)
def test_a_job_of_ten_thousand_tasks_succeeds_with_every_task_counted_once(deployment):
    job = dispatched(deployment, 10_000)
    done_in_batches(deployment, job, 500)
    assert_ended(deployment, job, "SUCCESS", saved=10_000)


def test_a_job_goes_from_created_to_pending_when_the_dispatcher_has_it(deployment):
    job = submitted(deployment, 1)
    assert (job.status, job.task_total, job.published) == ("PENDING", None, False)
    assert deployment.dispatcher.testimony(job.ref).state == "PENDING"


def test_while_a_job_runs_every_task_is_in_exactly_one_state(deployment):
    job = dispatched(deployment, 10)
    tasks = claimed(deployment, job, 6)
    posted(deployment, job, [success(tasks[0]), success(tasks[1]), failure(tasks[2])])
    counts = ledger.counts(job.id)
    assert (counts.waiting, counts.leased, counts.saved, counts.failed, counts.total) == (4, 3, 2, 1, 10)


def test_a_job_that_is_dispatched_again_after_its_end_stays_as_it_is(deployment):
    job = dispatched(deployment, 3)
    done_in_batches(deployment, job, 3)
    run_job(deployment, job.ref)
    assert_ended(deployment, job, "SUCCESS", saved=3)


@pytest.mark.parametrize(
    ("failed", "threshold", "status"),
    [
        (1, 0.25, "SUCCESS"),
        (2, 0.25, "SUCCESS"),
        (3, 0.25, "FAILURE"),
        (0, 0.0, "SUCCESS"),
        (1, 0.0, "FAILURE"),
        (7, 1.0, "SUCCESS"),
        (8, 1.0, "SUCCESS"),
        (4, 0.5, "SUCCESS"),
        (5, 0.5, "FAILURE"),
    ],
)
def test_only_a_failed_share_above_the_threshold_fails_the_job(deployment, failed, threshold, status):
    job = dispatched(deployment, 8, failure_threshold=threshold)
    tasks = claimed(deployment, job)
    posted(deployment, job, [failure(task) for task in tasks[:failed]])
    posted(deployment, job, [success(task) for task in tasks[failed:]])
    assert_ended(deployment, job, status, saved=8 - failed, failed=failed)


@pytest.mark.parametrize(("failed", "status"), [(2, "SUCCESS"), (3, "SUCCESS"), (4, "FAILURE")])
def test_a_threshold_that_binary_cannot_hold_is_compared_as_it_is_written(deployment, failed, status):
    job = dispatched(deployment, 10, failure_threshold=0.3)
    tasks = claimed(deployment, job)
    posted(deployment, job, [failure(task) for task in tasks[:failed]] + [success(task) for task in tasks[failed:]])
    assert_ended(deployment, job, status, saved=10 - failed, failed=failed)


def test_the_certificate_shows_the_arithmetic_of_the_verdict(deployment):
    job = dispatched(deployment, 4, failure_threshold=0.25)
    tasks = claimed(deployment, job)
    posted(deployment, job, [failure(tasks[0]), failure(tasks[1]), success(tasks[2]), success(tasks[3])])
    (certificate,) = jobs.certificates(job.id)
    assert certificate.status is JobState.FAILURE
    assert certificate.arithmetic == "2 failed / 4 = 0.5000 > 0.25"


def test_higher_priority_is_claimed_first(deployment):
    project_id = given.project()
    dispatched(deployment, 1, project_id, priority=0)
    urgent = dispatched(deployment, 1, project_id, priority=5)
    claimer = Claimer(project_id, "w1", (given.SLUG,))
    assert claim_any(deployment, claimer, 8)[0].id == urgent.id


def test_between_jobs_of_one_priority_claims_are_shared(deployment):
    project_id = given.project()
    both = {dispatched(deployment, 60, project_id).id for _ in range(2)}
    claimer = Claimer(project_id, "w1", (given.SLUG,))
    served = {claim_any(deployment, claimer, 1)[0].id for _ in range(60)}
    assert served == both
