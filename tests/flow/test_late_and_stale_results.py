"""Results that come twice, from the wrong hands, or after the end."""

import pytest

from headcount.domain.states import AnswerStatus
from headcount.flow.cancel import cancel
from headcount.flow.finalise import give_up
from headcount.flow.receive import receive
from headcount.store import jobs, ledger
from tests.flow.given import (
    assert_ended,
    assert_saved_exactly,
    claimed,
    dispatched,
    events_named,
    failure,
    posted,
    success,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def handed_on(deployment, clock):
    """A job of one task that a first worker let expire and a second one holds: both leases."""
    job = dispatched(deployment, 1)
    (first,) = claimed(deployment, job, worker="w1")
    clock.advance(deployment.settings.ack_wait * 2)
    (second,) = claimed(deployment, job, worker="w2")
    return job, first, second


def test_the_same_batch_again_changes_nothing_and_says_so(deployment):
    job = dispatched(deployment, 3)
    batch = [success(task) for task in claimed(deployment, job)]
    assert posted(deployment, job, batch[:2]) == ["saved", "saved"]
    assert posted(deployment, job, batch) == ["duplicate", "duplicate", "saved"]
    assert_ended(deployment, job, "SUCCESS", saved=3)


def test_a_task_handed_on_to_another_worker_has_a_new_attempt(deployment, handed_on):
    _, first, second = handed_on
    assert (first.task.attempt, second.task.attempt) == (1, 2)
    assert first.token != second.token


def test_of_the_results_of_two_workers_the_first_to_come_counts(deployment, handed_on):
    job, first, second = handed_on
    assert posted(deployment, job, [success(second, detections=3)]) == ["saved"]
    assert posted(deployment, job, [success(first, detections=1)]) == ["duplicate"]
    assert_ended(deployment, job, "SUCCESS", saved=1, detections=3)


def test_a_stale_success_is_welcome_while_the_task_is_open(deployment, handed_on):
    job, first, second = handed_on
    assert posted(deployment, job, [success(first, detections=1)]) == ["saved"]
    assert posted(deployment, job, [success(second, detections=3)]) == ["duplicate"]
    assert_ended(deployment, job, "SUCCESS", saved=1, detections=1)


def test_a_stale_failure_is_refused_and_the_holder_goes_on(deployment, handed_on):
    job, first, second = handed_on
    (answer,) = receive(deployment, job.id, job.project_id, [failure(first)])
    assert answer.status is AnswerStatus.STALE
    assert answer.reason == "the lease is of attempt 1, the task is in attempt 2"
    assert posted(deployment, job, [success(second)]) == ["saved"]
    assert_ended(deployment, job, "SUCCESS", saved=1)


def test_two_workers_results_for_one_task_in_one_request_count_once_and_the_success_wins(deployment, handed_on):
    job, first, second = handed_on
    assert posted(deployment, job, [failure(second), success(first)]) == ["duplicate", "saved"]
    assert_ended(deployment, job, "SUCCESS", saved=1)


def test_a_result_after_the_lease_expired_still_counts_while_nobody_else_has_the_task(deployment, clock):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    clock.advance(deployment.settings.ack_wait * 2)
    assert posted(deployment, job, [failure(task)]) == ["saved"]
    assert_ended(deployment, job, "FAILURE", failed=1)


@pytest.mark.parametrize(("result", "status"), [(success, "SUCCESS"), (failure, "FAILURE")])
def test_a_result_after_success_or_failure_is_a_duplicate(deployment, result, status):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    posted(deployment, job, [result(task)])
    assert posted(deployment, job, [success(task)]) == ["duplicate"]
    assert_ended(deployment, job, status, saved=status == "SUCCESS", failed=status == "FAILURE")


def test_a_result_after_a_cancellation_is_refused_and_saves_nothing(deployment):
    job = dispatched(deployment, 2)
    tasks = claimed(deployment, job)
    posted(deployment, job, [success(tasks[0])])
    cancel(deployment, job.id)
    (answer,) = receive(deployment, job.id, job.project_id, [success(tasks[1])])
    assert (answer.status, answer.reason) == (AnswerStatus.STALE, "the task was cancelled")
    assert_ended(deployment, job, "REVOKED", saved=1, cancelled=1)


def test_a_late_result_of_a_revoked_job_is_saved_if_its_task_is_open_and_the_status_stays(deployment):
    job = dispatched(deployment, 2)
    tasks = claimed(deployment, job)
    assert give_up(deployment, job.ref, "nobody can finish it")
    assert posted(deployment, job, [success(task) for task in tasks]) == ["saved", "saved"]
    assert posted(deployment, job, [success(task) for task in tasks]) == ["duplicate", "duplicate"]
    assert jobs.get(job.id).status == "REVOKED"
    assert ledger.counts(job.id).saved == 2
    assert_saved_exactly(job.ref, 4)
    (event,) = events_named(job, "result.late")
    assert event.evidence == {"ordinals": [0, 1]}


def test_the_certificate_of_a_revoked_job_stays_as_it_was_written(deployment):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    give_up(deployment, job.ref, "nobody can finish it")
    before = jobs.certificates(job.id)
    posted(deployment, job, [success(task)])
    assert jobs.certificates(job.id) == before
    assert (before[0].counts.leased, before[0].reason) == (1, "nobody can finish it")
