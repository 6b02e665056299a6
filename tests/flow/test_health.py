"""The health check brings level what a crash, or a loss, left behind."""

import pytest

from headcount.engines.database.models import QueueMessage, RunState, StateMark
from headcount.errors import EngineUnavailableError
from headcount.flow import relay
from headcount.flow.finalise import finalise
from headcount.health.finding import Policy
from headcount.health.loop import jobs_health_check
from headcount.health.report import CheckOutcome
from headcount.store import jobs, outbox
from tests.flow.given import (
    assert_ended,
    claimed,
    dispatched,
    events_named,
    failure,
    posted,
    submitted,
    success,
)

pytestmark = pytest.mark.django_db


class KilledError(BaseException):
    """The process is gone."""


def dies(*_, **__):
    raise KilledError


def test_a_healthy_job_is_left_alone(deployment):
    job = dispatched(deployment, 3)
    claimed(deployment, job, 1)
    outcomes = jobs_health_check(deployment)
    assert sum(outcome.fixed + outcome.unfixable for outcome in outcomes.values()) == 0


@pytest.mark.parametrize(
    "place",
    [
        "headcount.engines.database.state.DatabaseStateManager.account",
        "headcount.engines.database.queue.DatabaseTaskQueue.acknowledge",
        "headcount.flow.account.finalise",
    ],
)
def test_a_job_whose_last_result_was_saved_by_a_process_that_died_then_is_ended_with_its_verdict(
    deployment, monkeypatch, clock, place
):
    job = dispatched(deployment, 3)
    tasks = claimed(deployment, job)
    with monkeypatch.context() as patch:
        patch.setattr(place, dies)
        with pytest.raises(KilledError):
            posted(deployment, job, [success(tasks[0]), success(tasks[1]), failure(tasks[2])])
    assert jobs.get(job.id).status == "STARTED"
    clock.advance(Policy().finish_within)
    assert jobs_health_check(deployment)["finished_not_finalised"].fixed == 1
    assert_ended(deployment, job, "SUCCESS", saved=2, failed=1)


def test_a_job_between_its_last_result_and_its_end_is_left_to_the_request_that_ends_it(deployment, monkeypatch):
    job = dispatched(deployment, 2)
    outcomes = []

    def looked_at_first(deployment, ref):
        outcomes.append(jobs_health_check(deployment)["finished_not_finalised"])
        return finalise(deployment, ref)

    monkeypatch.setattr("headcount.flow.account.finalise", looked_at_first)
    posted(deployment, job, [success(task) for task in claimed(deployment, job)])
    assert outcomes == [CheckOutcome()]
    assert events_named(job, "repair.finalise") == []
    assert_ended(deployment, job, "SUCCESS", saved=2)


def test_the_same_post_again_after_such_a_death_ends_the_job_too(deployment, monkeypatch):
    job = dispatched(deployment, 2)
    batch = [success(task) for task in claimed(deployment, job)]
    with monkeypatch.context() as patch:
        patch.setattr(type(deployment.state), "account", dies)
        with pytest.raises(KilledError):
            posted(deployment, job, batch)
    assert posted(deployment, job, batch) == ["duplicate", "duplicate"]
    assert_ended(deployment, job, "SUCCESS", saved=2)


@pytest.mark.parametrize("place", ["state.account", "queue.acknowledge"])
def test_a_witness_that_does_not_answer_loses_no_result_and_is_brought_level_later(
    deployment, monkeypatch, clock, place
):
    job = dispatched(deployment, 2)
    engine, name = place.split(".")
    with monkeypatch.context() as patch:
        patch.setattr(type(getattr(deployment, engine)), name, does_not_answer)
        answers = posted(deployment, job, [success(task) for task in claimed(deployment, job)])
    assert answers == ["saved", "saved"]
    clock.advance(Policy().finish_within)
    jobs_health_check(deployment)
    assert_ended(deployment, job, "SUCCESS", saved=2)


def test_a_queue_that_does_not_answer_keeps_no_job_from_its_end(deployment, monkeypatch):
    job = dispatched(deployment, 2)
    tasks = claimed(deployment, job)
    with monkeypatch.context() as patch:
        for name in ("acknowledge", "remove"):
            patch.setattr(type(deployment.queue), name, does_not_answer)
        assert posted(deployment, job, [success(task) for task in tasks]) == ["saved", "saved"]
        assert jobs.get(job.id).status == "SUCCESS"
    jobs_health_check(deployment)
    assert_ended(deployment, job, "SUCCESS", saved=2)


def does_not_answer(*_, **__):
    raise EngineUnavailableError("connection refused")


def test_messages_that_the_queue_lost_are_put_in_again(deployment):
    job = dispatched(deployment, 6)
    held = claimed(deployment, job, 2)
    QueueMessage.objects.filter(job_id=job.id, ordinal__in=[1, 3, 4]).delete()
    assert jobs_health_check(deployment)["lost_tasks"].fixed == 1
    again = claimed(deployment, job, worker="w2")
    assert [task.task.ordinal for task in again] == [2, 3, 4, 5]
    assert len(events_named(job, "repair.republish")) == 1
    posted(deployment, job, [success(task) for task in [*held, *again]])
    assert_ended(deployment, job, "SUCCESS", saved=6)


def test_a_lost_message_whose_holder_died_comes_back_after_its_lease(deployment, clock):
    job = dispatched(deployment, 1)
    claimed(deployment, job)
    QueueMessage.objects.all().delete()
    jobs_health_check(deployment)
    assert claimed(deployment, job, worker="w2") == []
    clock.advance(deployment.settings.ack_wait * 2)
    jobs_health_check(deployment)
    (task,) = claimed(deployment, job, worker="w2")
    posted(deployment, job, [success(task)])
    assert_ended(deployment, job, "SUCCESS", saved=1)


def test_results_that_come_while_the_health_check_looks_raise_no_alarm(deployment, monkeypatch):
    job = dispatched(deployment, 4)
    tasks = claimed(deployment, job)
    queue_depth = type(deployment.queue).depth

    def depth_just_after_a_post(queue, ref):
        if tasks:
            posted(deployment, job, [success(tasks.pop()), success(tasks.pop())])
        return queue_depth(queue, ref)

    monkeypatch.setattr(type(deployment.queue), "depth", depth_just_after_a_post)
    jobs_health_check(deployment)
    assert events_named(job, "repair.republish") == []


def test_a_state_manager_that_forgot_everything_is_rebuilt_from_the_ledger(deployment):
    job = dispatched(deployment, 4)
    tasks = claimed(deployment, job)
    posted(deployment, job, [success(tasks[0]), failure(tasks[1])])
    RunState.objects.all().delete()
    StateMark.objects.all().delete()
    assert deployment.state.all_tasks_processed(job.ref) is None
    posted(deployment, job, [success(tasks[2])])
    stages = deployment.state.snapshot(job.ref).stages
    assert [(stage.total, stage.done, stage.failed) for stage in stages] == [(4, 2, 1)] * 2
    posted(deployment, job, [success(tasks[3])])
    assert_ended(deployment, job, "SUCCESS", saved=3, failed=1)


def test_a_state_manager_that_forgot_everything_never_reads_as_completion(deployment):
    job = dispatched(deployment, 2)
    RunState.objects.all().delete()
    jobs_health_check(deployment)
    assert jobs.get(job.id).status == "STARTED"


def test_a_job_whose_last_results_found_no_state_manager_still_ends(deployment):
    job = dispatched(deployment, 2)
    RunState.objects.all().delete()
    posted(deployment, job, [success(task) for task in claimed(deployment, job)])
    assert_ended(deployment, job, "SUCCESS", saved=2)


def test_expired_leases_are_made_ready_without_a_claim(deployment, clock):
    job = dispatched(deployment, 2)
    claimed(deployment, job)
    clock.advance(deployment.settings.ack_wait * 2)
    assert jobs_health_check(deployment)["expired_leases"].fixed == 2
    assert deployment.queue.depth(job.ref).pending == 2


def test_a_dispatcher_that_did_not_answer_at_submission_is_asked_again(deployment, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(type(deployment.dispatcher), "enqueue", does_not_answer)
        job = submitted(deployment, 1)
    assert job.status == "CREATED"
    assert jobs_health_check(deployment)["outbox"].fixed == 1
    assert jobs.get(job.id).status == "PENDING"
    assert outbox.undelivered() == []


def test_what_an_ended_job_leaves_in_queue_and_state_manager_is_cleaned_up_later(deployment, monkeypatch):
    job = dispatched(deployment, 1)
    with monkeypatch.context() as patch:
        patch.setattr(relay.outbox, "undelivered", lambda **_: [])
        posted(deployment, job, [success(task) for task in claimed(deployment, job)])
    assert RunState.objects.filter(job_id=job.id).exists()
    jobs_health_check(deployment)
    assert_ended(deployment, job, "SUCCESS", saved=1)


def test_one_broken_check_keeps_no_other_from_running(deployment, monkeypatch):
    job = dispatched(deployment, 1)
    QueueMessage.objects.all().delete()
    monkeypatch.setattr("headcount.health.loop.relay", breaks)
    outcomes = jobs_health_check(deployment)
    assert outcomes["outbox"].unfixable == 1
    assert outcomes["lost_tasks"].fixed == 1
    assert len(claimed(deployment, job)) == 1


def breaks(*_, **__):
    raise ValueError("broken")
