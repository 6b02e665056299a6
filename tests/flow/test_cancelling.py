"""Cancelling: nothing is handed out any more, what is saved stays."""

import pytest

from headcount.errors import ConflictError, NotFoundError
from headcount.flow.cancel import cancel
from headcount.flow.run_job import run_job
from headcount.health.loop import jobs_health_check
from headcount.store import jobs, ledger, transitions
from tests.flow.given import assert_ended, claimed, dispatched, posted, project, submitted, success

pytestmark = pytest.mark.django_db


def test_a_cancelled_job_keeps_what_is_saved_and_cancels_the_rest(deployment):
    job = dispatched(deployment, 5)
    tasks = claimed(deployment, job, 3)
    posted(deployment, job, [success(tasks[0])])
    assert cancel(deployment, job.id).status == "REVOKED"
    assert claimed(deployment, job) == []
    assert_ended(deployment, job, "REVOKED", saved=1, cancelled=4)


def test_a_job_cancelled_before_its_dispatch_is_never_collected(deployment):
    job = submitted(deployment, 5)
    cancel(deployment, job.id)
    run_job(deployment, job.ref)
    assert jobs.get(job.id).status == "REVOKED"
    assert ledger.counts(job.id).total == 0


def test_a_job_cancelled_in_mid_collect_leaves_no_open_task_behind(deployment, monkeypatch):
    monkeypatch.setattr("headcount.flow.collect.CHUNK", 2)
    job = submitted(deployment, 6)
    calls = iter(range(100))
    run_job(deployment, job.ref, lambda: next(calls) == 2 and cancel(deployment, job.id))
    assert jobs.get(job.id).status == "REVOKED"
    assert ledger.counts(job.id).open == 0
    assert deployment.queue.depth(job.ref).pending == 0


def test_a_job_that_has_ended_cannot_be_cancelled(deployment):
    job = dispatched(deployment, 0)
    with pytest.raises(ConflictError, match="has ended already, as SUCCESS"):
        cancel(deployment, job.id)
    assert_ended(deployment, job, "SUCCESS")


def test_a_job_of_another_project_cannot_be_cancelled(deployment):
    job = dispatched(deployment, 1)
    with pytest.raises(NotFoundError):
        cancel(deployment, job.id, project("bees"))
    assert jobs.get(job.id).status == "STARTED"


def test_a_cancellation_that_died_halfway_is_finished_by_the_health_check(deployment, clock):
    job = dispatched(deployment, 2)
    transitions.begin_cancel(job.ref, "cancelled on request", clock())
    assert jobs_health_check(deployment)["finished_not_finalised"].fixed == 1
    assert_ended(deployment, job, "REVOKED", cancelled=2)


def test_while_a_job_is_being_cancelled_its_last_result_makes_no_success_of_it(deployment, clock):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    transitions.begin_cancel(job.ref, "cancelled on request", clock())
    assert posted(deployment, job, [success(task)]) == ["saved"]
    assert_ended(deployment, job, "REVOKED", saved=1)
