"""Cancels, retries and fast failures against each other and against late writers: one of them wins, and all agree."""

from collections import Counter
from dataclasses import replace

import pytest

from headcount.clock import system_clock
from headcount.domain.records import JobRef
from headcount.domain.states import DispatchMode, Redo
from headcount.errors import ConflictError
from headcount.flow.cancel import cancel
from headcount.flow.finalise import finalise, give_up
from headcount.flow.forget import forget_if_ended
from headcount.flow.leases import extend, release
from headcount.flow.relay import relay
from headcount.flow.retry import retry
from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.health.audit import audit
from headcount.health.loop import jobs_health_check
from headcount.models import Certificate, OutboxEntry
from headcount.store import jobs, ledger, transitions
from headcount.testing.factories import make_project
from headcount.testing.kinds import NoteKind
from headcount.wiring import build
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
from tests.flow.threads import at_once
from tests.settings import HEADCOUNT

pytestmark = pytest.mark.django_db(transaction=True)
SEVERAL_TIMES = pytest.mark.parametrize("attempt", range(4))
CAME_TOO_LATE = "came too late"


@pytest.fixture
def deployment():
    """With the system's clock: threads move no frozen one."""
    return build(HEADCOUNT, system_clock)


def unless_too_late(act):
    """Do what may lose a race; what it is told then is a conflict and nothing else."""
    try:
        return act()
    except ConflictError:
        return CAME_TOO_LATE


def portions(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


def posters(deployment, job, results, size):
    return [lambda batch=batch: posted(deployment, job, batch) for batch in portions(results, size)]


def drained(deployment, job):
    """Let an honest worker do what is open, and see that nothing of any run is left behind."""
    run_job(deployment, jobs.get(job.id).ref)
    while tasks := claimed(deployment, job):
        posted(deployment, job, [success(task) for task in tasks])
    jobs_health_check(deployment)
    ended = jobs.get(job.id)
    assert ended.is_final
    assert [item.run for item in jobs.certificates(job.id)] == list(range(1, ended.run + 1))
    assert audit(deployment, job.id).offences == ()
    assert_saved_exactly(job.ref, 2 * ledger.counts(job.id).saved)
    for run in range(1, ended.run + 1):
        assert deployment.queue.depth(JobRef(job.id, run)).pending == 0
        assert deployment.state.all_tasks_processed(JobRef(job.id, run)) is None
    return ended


def failed(deployment, tasks=6):
    """A job that ended FAILURE, and the leases of its first run."""
    job = dispatched(deployment, tasks, failure_threshold=0.0)
    leases = claimed(deployment, job)
    posted(deployment, job, [failure(task) for task in leases])
    return jobs.get(job.id), leases


@SEVERAL_TIMES
def test_of_retries_at_once_one_starts_the_next_run(deployment, attempt):
    job, _ = failed(deployment)
    said = at_once([lambda: unless_too_late(lambda: retry(deployment, job.id))] * 8)
    assert said.count(CAME_TOO_LATE) == 7
    assert jobs.get(job.id).run == 2
    assert len(events_named(job, "job.retried")) == 1
    assert OutboxEntry.objects.filter(job_id=job.id, topic="dispatch").count() == 2
    assert drained(deployment, job).status == "SUCCESS"


@SEVERAL_TIMES
def test_a_retry_against_late_results_takes_every_success_and_no_failure(deployment, attempt):
    job = dispatched(deployment, 60)
    tasks = claimed(deployment, job)
    give_up(deployment, job.ref, "nobody is left")
    successes = posters(deployment, job, [success(task) for task in tasks[::2]], 10)
    failures = posters(deployment, job, [failure(task) for task in tasks[1::2]], 10)
    said = at_once([*successes, lambda: [retry(deployment, job.id).run], *failures])
    answers = Counter(answer for part in said[: len(successes)] for answer in part)
    assert answers == {"saved": 30}
    counts = ledger.counts(job.id)
    assert (counts.saved, counts.failed, counts.waiting) == (30, 0, 30), "what failed before the retry is to be redone"
    assert [set(posted(deployment, job, [failure(task)])) for task in tasks[1::2]] == [{"stale"}] * 30
    assert drained(deployment, job).status == "SUCCESS"


@SEVERAL_TIMES
def test_a_retry_against_the_leases_of_the_run_before_hands_out_every_task_once(deployment, attempt):
    job = dispatched(deployment, 40)
    tokens = [task.token for task in claimed(deployment, job)]
    give_up(deployment, job.ref, "nobody is left")

    def redispatched():
        run_job(deployment, retry(deployment, job.id).ref)
        return claimed(deployment, job)

    asks = [lambda ask=ask: ask(deployment, job.project_id, tokens) for ask in (extend, release) * 3]
    *answers, tasks = at_once([*asks, redispatched])
    assert {answer.status for said in answers for answer in said} <= {"cancelled", "stale"}
    assert len(tasks) == deployment.queue.depth(JobRef(job.id, 2)).in_flight == 40
    posted(deployment, job, [success(task) for task in tasks])
    assert drained(deployment, job).status == "SUCCESS"


@SEVERAL_TIMES
def test_a_retry_against_what_cleans_up_the_run_before_loses_nothing(deployment, attempt):
    job, _ = failed(deployment, tasks=20)
    OutboxEntry.objects.filter(job_id=job.id).update(delivered_at=None)

    def redispatched():
        run_job(deployment, retry(deployment, job.id).ref)

    sweepers = [
        lambda: relay(deployment),
        lambda: forget_if_ended(deployment, job.ref),
        lambda: run_job(deployment, job.ref),
        lambda: give_up(deployment, job.ref, "the dispatch failed"),
    ]
    at_once([*sweepers, redispatched])
    assert (jobs.get(job.id).run, ledger.counts(job.id).waiting) == (2, 20)
    assert deployment.queue.depth(JobRef(job.id, 2)).pending == 20
    assert deployment.state.all_tasks_processed(JobRef(job.id, 2)) is False
    assert drained(deployment, job).status == "SUCCESS"


@SEVERAL_TIMES
def test_leftovers_of_a_run_that_was_never_handed_out_are_settled_before_the_next_or_not_at_all(deployment, attempt):
    deployment = replace(deployment, kinds={"note": NoteKind()})
    request = JobRequest(make_project(), "note", DispatchMode.INTERNAL, config={"tasks": 30})
    job = submit(deployment, request)
    transitions.start(job.ref, deployment.clock())
    ledger.collect(job.id, 0, list(NoteKind().collect(job)))
    jobs.set_task_total(job.id, 1, 30)
    give_up(deployment, job.ref, "nobody is left")
    acts = [lambda: forget_if_ended(deployment, job.ref)] * 3
    *_, said = at_once([*acts, lambda: unless_too_late(lambda: retry(deployment, job.id))])
    counts = ledger.counts(job.id)
    assert (counts.cancelled, counts.waiting) == ((30, 0) if said is CAME_TOO_LATE else (0, 30))


@SEVERAL_TIMES
def test_those_who_finish_a_cancel_do_not_reach_into_the_run_after_it(deployment, attempt):
    job = dispatched(deployment, 30)
    posted(deployment, job, [success(task) for task in claimed(deployment, job, 10)])
    transitions.begin_cancel(job.ref, "asked", deployment.clock())

    def retry_at_once():
        while unless_too_late(lambda: retry(deployment, job.id, Redo.UNFINISHED)) is CAME_TOO_LATE:
            pass

    at_once([*[lambda: [finalise(deployment, job.ref) for _ in range(5)]] * 4, retry_at_once])
    counts = ledger.counts(job.id)
    assert (jobs.get(job.id).run, counts.saved, counts.waiting, counts.cancelled) == (2, 10, 20, 0)
    assert drained(deployment, job).status == "SUCCESS"


@SEVERAL_TIMES
def test_a_cancel_against_a_retry_ends_the_run_it_was_told_it_ended(deployment, attempt):
    job, _ = failed(deployment)
    cancels = [lambda: unless_too_late(lambda: cancel(deployment, job.id))] * 3
    retried, *said = at_once([lambda: retry(deployment, job.id), *cancels])
    assert retried.run == 2
    stopped = [record for record in said if record is not CAME_TOO_LATE]
    assert {(record.run, record.status) for record in stopped} <= {(2, "REVOKED")}
    ended = drained(deployment, job)
    assert (ended.run, ended.status) == (2, "REVOKED" if stopped else "SUCCESS")


@SEVERAL_TIMES
def test_a_cancel_that_was_not_refused_wins_against_the_last_results(deployment, attempt):
    job = dispatched(deployment, 40)
    results = [success(task) for task in claimed(deployment, job)]
    *said, stopped = at_once(
        [*posters(deployment, job, results, 5), lambda: unless_too_late(lambda: cancel(deployment, job.id))]
    )
    saved = sum(part.count("saved") for part in said)
    assert {answer for part in said for answer in part} <= {"saved", "stale"}
    if stopped is CAME_TOO_LATE:
        assert_ended(deployment, job, "SUCCESS", saved=40)
    else:
        assert_ended(deployment, job, "REVOKED", saved=saved, cancelled=40 - saved)


@SEVERAL_TIMES
def test_a_cancel_against_those_who_finalise_leaves_one_verdict(deployment, attempt, monkeypatch):
    job = dispatched(deployment, 3)
    with monkeypatch.context() as patch:
        patch.setattr("headcount.flow.account.finalise", lambda deployment, ref: False)
        posted(deployment, job, [success(task) for task in claimed(deployment, job)])
    finishers = [lambda: finalise(deployment, job.ref)] * 4
    stopped, *won = at_once([lambda: unless_too_late(lambda: cancel(deployment, job.id)), *finishers])
    assert won.count(True) <= 1
    assert_ended(deployment, job, "SUCCESS" if stopped is CAME_TOO_LATE else "REVOKED", saved=3)


@SEVERAL_TIMES
def test_posters_of_failures_at_once_end_a_job_that_fails_fast_once(deployment, attempt):
    job = dispatched(deployment, 60, failure_threshold=0.2, fail_fast=True)
    tasks = claimed(deployment, job)
    results = [failure(task) if task.task.ordinal % 2 else success(task) for task in tasks]
    said = at_once(posters(deployment, job, results, 4))
    answers = Counter(answer for part in said for answer in part)
    counts = ledger.counts(job.id)
    assert (answers["saved"], answers["stale"]) == (counts.saved + counts.failed, counts.cancelled)
    assert_ended(deployment, job, "FAILURE", saved=counts.saved, failed=counts.failed, cancelled=counts.cancelled)
    assert counts.failed > 12


@SEVERAL_TIMES
def test_a_cancel_against_a_fast_failure_leaves_one_verdict_that_says_which(deployment, attempt):
    job = dispatched(deployment, 40, failure_threshold=0.1, fail_fast=True)
    results = [failure(task) for task in claimed(deployment, job)]
    *_, stopped = at_once(
        [*posters(deployment, job, results, 5), lambda: unless_too_late(lambda: cancel(deployment, job.id))]
    )
    counts = ledger.counts(job.id)
    status = "FAILURE" if stopped is CAME_TOO_LATE else "REVOKED"
    assert_ended(deployment, job, status, failed=counts.failed, cancelled=counts.cancelled)
    assert Certificate.objects.filter(job_id=job.id).count() == 1


@SEVERAL_TIMES
def test_a_fast_failure_is_retried_while_its_workers_still_post(deployment, attempt):
    job = dispatched(deployment, 40, failure_threshold=0.1, fail_fast=True)
    tasks = claimed(deployment, job)
    posted(deployment, job, [failure(task) for task in tasks[:5]])
    assert jobs.get(job.id).status == "FAILURE"
    late = posters(deployment, job, [success(task) for task in tasks[5:]], 7)
    *said, following = at_once([*late, lambda: retry(deployment, job.id)])
    assert (following.run, following.set_aside) == (2, 0)
    saved = sum(part.count("saved") for part in said)
    counts = ledger.counts(job.id)
    assert (counts.saved, counts.waiting, counts.cancelled, counts.failed) == (saved, 40 - saved, 0, 0)
    assert drained(deployment, job).status == "SUCCESS"
