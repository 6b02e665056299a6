"""Extending and releasing: only what a worker still holds."""

import pytest

from headcount.flow.cancel import cancel
from headcount.flow.finalise import finalise
from headcount.flow.leases import extend, release
from headcount.models import Task
from headcount.ports.task_queue import Delivery
from headcount.store import jobs, ledger
from tests.flow.given import assert_ended, claimed, dispatched, posted, project, success, with_settings

pytestmark = pytest.mark.django_db


def statuses(answers):
    return [str(answer.status) for answer in answers]


def extended(deployment, job, *tasks):
    return statuses(extend(deployment, job.project_id, [task.token for task in tasks]))


def released(deployment, job, *tasks):
    return statuses(release(deployment, job.project_id, [task.token for task in tasks]))


def test_an_extended_lease_lasts_another_full_term(deployment, clock):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    clock.advance(deployment.settings.ack_wait * 0.9)
    assert extended(deployment, job, task) == ["extended"]
    clock.advance(deployment.settings.ack_wait * 0.9)
    assert claimed(deployment, job, worker="w2") == []
    clock.advance(deployment.settings.ack_wait * 0.2)
    assert len(claimed(deployment, job, worker="w2")) == 1


def test_a_released_task_is_handed_out_again_at_once(deployment):
    job = dispatched(deployment, 2)
    tasks = claimed(deployment, job)
    assert released(deployment, job, tasks[1]) == ["released"]
    (again,) = claimed(deployment, job, worker="w2")
    assert (again.task.ordinal, again.task.attempt) == (1, 2)


def test_a_stale_lease_can_be_neither_extended_nor_released_and_the_holder_keeps_the_task(deployment, clock):
    job = dispatched(deployment, 1)
    (first,) = claimed(deployment, job)
    clock.advance(deployment.settings.ack_wait * 2)
    (second,) = claimed(deployment, job, worker="w2")
    until = Task.objects.get(job_id=job.id).leased_until
    assert extended(deployment, job, first) == ["stale"]
    assert released(deployment, job, first) == ["stale"]
    assert Task.objects.get(job_id=job.id).leased_until == until
    assert claimed(deployment, job, worker="w3") == []
    assert extended(deployment, job, second) == ["extended"]


def test_both_leases_of_a_task_in_one_request_are_answered_each_by_itself(deployment, clock):
    job = dispatched(deployment, 1)
    (first,) = claimed(deployment, job)
    clock.advance(deployment.settings.ack_wait * 2)
    (second,) = claimed(deployment, job, worker="w2")
    assert extended(deployment, job, first, second) == ["stale", "extended"]
    assert released(deployment, job, second, first) == ["released", "stale"]


def test_the_lease_of_a_done_task_says_that_it_is_done(deployment):
    job = dispatched(deployment, 2)
    tasks = claimed(deployment, job)
    posted(deployment, job, [success(tasks[0])])
    assert extended(deployment, job, *tasks) == ["done", "extended"]


def test_the_leases_of_a_cancelled_job_say_so(deployment):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    cancel(deployment, job.id)
    assert extended(deployment, job, task) == ["cancelled"]
    assert released(deployment, job, task) == ["cancelled"]


def test_leases_of_several_jobs_invented_ones_and_other_projects_are_answered_in_order(deployment):
    one, two, foreign = (dispatched(deployment, 1, project(name)) for name in ("moths", "moths", "bees"))
    tokens = [claimed(deployment, job)[0].token for job in (one, foreign, two)]
    answers = extend(deployment, one.project_id, ["invented", *tokens])
    assert statuses(answers) == ["rejected", "extended", "rejected", "extended"]
    assert [answer.reply_subject for answer in answers] == ["invented", *tokens]


def test_a_lease_given_back_costs_no_attempt(deployment):
    deployment = with_settings(deployment, max_attempts=2)
    job = dispatched(deployment, 1)
    for _ in range(5):
        (task,) = claimed(deployment, job)
        assert released(deployment, job, task) == ["released"]
    (task,) = claimed(deployment, job)
    posted(deployment, job, [success(task)])
    assert_ended(deployment, job, "SUCCESS", saved=1)


def test_a_task_that_kills_every_worker_fails_after_its_attempts_and_the_others_are_saved(deployment, clock):
    deployment = with_settings(deployment, max_attempts=3)
    job = dispatched(deployment, 3)
    crashing, *others = claimed(deployment, job)
    posted(deployment, job, [success(task) for task in others])
    for attempt in (2, 3):
        clock.advance(deployment.settings.ack_wait * 2)
        (task,) = claimed(deployment, job)
        assert (task.task.ordinal, task.task.attempt) == (crashing.task.ordinal, attempt)
    clock.advance(deployment.settings.ack_wait * 2)
    assert claimed(deployment, job) == []
    assert_ended(deployment, job, "SUCCESS", saved=2, failed=1)
    assert Task.objects.get(job_id=job.id, state="failed").error == ("lost: handed out 3 times and no result came back")


def test_a_task_in_its_last_attempt_is_not_failed_while_its_lease_runs(deployment):
    deployment = with_settings(deployment, max_attempts=1)
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    deployment.queue.release(job.ref, [Delivery(task.task.ordinal, 1)])
    assert claimed(deployment, job, worker="w2") == []
    assert ledger.counts(job.id).leased == 1
    assert not finalise(deployment, job.ref)
    assert posted(deployment, job, [success(task)]) == ["saved"]
    assert jobs.get(job.id).status == "SUCCESS"
