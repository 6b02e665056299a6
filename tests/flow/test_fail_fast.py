"""Failing fast: a job that can no longer succeed ends at once, and no other does."""

from dataclasses import replace

import pytest

from headcount.domain.states import DispatchMode
from headcount.flow.cancel import cancel
from headcount.flow.finalise import finalise
from headcount.flow.retry import retry
from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.health.audit import audit
from headcount.health.describe import describe
from headcount.health.finding import Policy
from headcount.health.loop import jobs_health_check
from headcount.store import jobs, ledger
from headcount.testing.factories import make_project
from headcount.testing.kinds import NoteKind
from tests.flow.given import assert_ended, claimed, dispatched, events_named, failure, posted, success

pytestmark = pytest.mark.django_db


def test_a_job_that_fails_fast_ends_with_the_failure_that_decides_it(deployment):
    job = dispatched(deployment, 10, failure_threshold=0.2, fail_fast=True)
    tasks = claimed(deployment, job)
    posted(deployment, job, [success(tasks[0]), failure(tasks[1]), failure(tasks[2])])
    assert jobs.get(job.id).status == "STARTED", "two of ten are a fifth, which is allowed"
    posted(deployment, job, [failure(tasks[3])])
    assert_ended(deployment, job, "FAILURE", saved=1, failed=3, cancelled=6)
    (certificate,) = jobs.certificates(job.id)
    assert certificate.arithmetic == "3 failed / 10 = 0.3000 > 0.2"
    assert [event.message for event in events_named(job, "tasks.cancelled")] == ["6 open tasks were cancelled"]


def test_what_comes_after_a_fast_failure_is_stale_and_nothing_more_is_handed_out(deployment):
    job = dispatched(deployment, 4, failure_threshold=0.0, fail_fast=True)
    tasks = claimed(deployment, job, 2)
    assert posted(deployment, job, [failure(tasks[0])]) == ["saved"]
    assert posted(deployment, job, [success(tasks[1]), failure(tasks[0])]) == ["stale", "duplicate"]
    assert claimed(deployment, job) == []
    assert_ended(deployment, job, "FAILURE", failed=1, cancelled=3)


def test_a_job_that_does_not_fail_fast_goes_on_to_its_end(deployment):
    job = dispatched(deployment, 4, failure_threshold=0.0)
    tasks = claimed(deployment, job)
    posted(deployment, job, [failure(task) for task in tasks[:3]])
    assert jobs.get(job.id).status == "STARTED"
    posted(deployment, job, [success(tasks[3])])
    assert_ended(deployment, job, "FAILURE", saved=1, failed=3)


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 1.0])
def test_a_job_that_fails_fast_ends_as_it_would_have_anyhow(deployment, threshold):
    for failures in range(5):
        slow, fast = (dispatched(deployment, 4, failure_threshold=threshold, fail_fast=f) for f in (False, True))
        for job in (slow, fast):
            for task in claimed(deployment, job):
                posted(deployment, job, [failure(task) if task.task.ordinal < failures else success(task)])
        assert jobs.get(slow.id).status == jobs.get(fast.id).status
        assert audit(deployment, fast.id).offences == ()


def test_a_fast_failure_that_nobody_wrote_is_written_by_the_health_check(deployment, monkeypatch, clock):
    job = dispatched(deployment, 4, failure_threshold=0.0, fail_fast=True)
    (task, *_) = claimed(deployment, job)
    with monkeypatch.context() as patch:
        patch.setattr("headcount.flow.account.finalise", lambda deployment, ref: False)
        posted(deployment, job, [failure(task)])
    jobs_health_check(deployment)
    assert jobs.get(job.id).status == "STARTED"
    clock.advance(Policy().finish_within)
    jobs_health_check(deployment)
    assert_ended(deployment, job, "FAILURE", failed=1, cancelled=3)


def test_a_job_that_was_not_collected_whole_is_not_decided(deployment, monkeypatch):
    job = dispatched(deployment, 4, failure_threshold=0.0, fail_fast=True)
    (task, *_) = claimed(deployment, job)
    partly = replace(jobs.get(job.id), task_total=None)
    with monkeypatch.context() as patch:
        patch.setattr("headcount.store.jobs.get", lambda *_: partly)
        posted(deployment, job, [failure(task)])
        assert not finalise(deployment, job.ref)
    assert finalise(deployment, job.ref)


def test_a_cancelled_job_is_revoked_whatever_has_failed(deployment):
    job = dispatched(deployment, 4, failure_threshold=0.5, fail_fast=True)
    posted(deployment, job, [failure(task) for task in claimed(deployment, job, 2)])
    cancel(deployment, job.id)
    assert_ended(deployment, job, "REVOKED", failed=2, cancelled=2)


def test_an_internal_job_fails_fast(deployment):
    deployment = replace(deployment, kinds={"note": NoteKind()})
    config = {"tasks": 50, "broken": ["k3"]}
    request = JobRequest(
        make_project(), "note", DispatchMode.INTERNAL, config=config, failure_threshold=0, fail_fast=True
    )
    job = submit(deployment, request)
    run_job(deployment, job.ref)
    counts = ledger.counts(job.id)
    assert (jobs.get(job.id).status, counts.failed, counts.cancelled) == ("FAILURE", 1, 30)
    assert audit(deployment, job.id).offences == ()


def test_a_retry_of_a_fast_failure_takes_up_what_it_cancelled(deployment):
    job = dispatched(deployment, 5, failure_threshold=0.0, fail_fast=True)
    tasks = claimed(deployment, job, 2)
    posted(deployment, job, [success(tasks[0]), failure(tasks[1])])
    following = retry(deployment, job.id)
    run_job(deployment, following.ref)
    assert (following.set_aside, ledger.counts(job.id).waiting) == (0, 4)
    posted(deployment, following, [success(task) for task in claimed(deployment, following)])
    assert [item.status for item in jobs.certificates(job.id)] == ["FAILURE", "SUCCESS"]
    assert audit(deployment, job.id).offences == ()


def test_the_live_bound_is_shown_while_the_job_runs(deployment):
    job = dispatched(deployment, 5, failure_threshold=0.2)
    says = []
    for task in claimed(deployment, job):
        says.append((describe(deployment, jobs.get(job.id))["bound"] or {}).get("says"))
        posted(deployment, job, [failure(task)])
    one, none, never = "at most 1 more failure", "at most 0 more failures", "can no longer succeed"
    assert says == [f"can still succeed: {one}", f"can still succeed: {none}", never, never, never]
    assert describe(deployment, jobs.get(job.id))["bound"] is None
