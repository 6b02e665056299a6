"""Real threads against one database: whoever comes first counts, and nothing counts twice."""

import random
from collections import Counter
from contextlib import suppress

import pytest

from headcount.clock import system_clock
from headcount.errors import ConflictError, TemporaryError
from headcount.flow.cancel import cancel
from headcount.flow.finalise import finalise, give_up
from headcount.flow.leases import release
from headcount.flow.run_job import run_job
from headcount.health.loop import jobs_health_check
from headcount.models import Certificate, Task
from headcount.store import jobs, ledger
from headcount.wiring import build
from tests.flow.given import (
    assert_ended,
    assert_saved_exactly,
    claimed,
    dispatched,
    events_named,
    failure,
    posted,
    project,
    submitted,
    success,
)
from tests.flow.threads import at_once
from tests.settings import HEADCOUNT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def deployment():
    """With the system's clock: threads move no frozen one."""
    return build(HEADCOUNT, system_clock)


def until_taken(act):
    """Do something again as long as the answer is that it may succeed later, as workers do."""
    for _ in range(50):
        try:
            return act()
        except TemporaryError:
            continue
    return pytest.fail("it never succeeded")


def portions(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


def test_the_same_batch_posted_five_times_at_once_is_saved_once(deployment):
    job = dispatched(deployment, 40)
    batch = [success(task) for task in claimed(deployment, job)]
    answers = at_once([lambda: posted(deployment, job, batch)] * 5)
    for of_one_task in zip(*answers, strict=True):
        assert Counter(of_one_task) == {"saved": 1, "duplicate": 4}
    assert_ended(deployment, job, "SUCCESS", saved=40)


def test_a_batch_posted_twice_at_once_in_opposite_orders_is_saved_once(deployment):
    job = dispatched(deployment, 60)
    batch = [success(task) for task in claimed(deployment, job)]
    one, two = at_once([lambda: posted(deployment, job, batch), lambda: posted(deployment, job, batch[::-1])])
    assert {tuple(sorted(pair)) for pair in zip(one, two[::-1], strict=True)} == {("duplicate", "saved")}
    assert_ended(deployment, job, "SUCCESS", saved=60)


def test_a_success_and_a_failure_of_one_task_at_once_leave_one_of_them(deployment):
    job = dispatched(deployment, 20, failure_threshold=1.0)
    tasks = claimed(deployment, job)
    successes, failures = [success(task) for task in tasks], [failure(task) for task in tasks]
    one, two = at_once([lambda: posted(deployment, job, successes), lambda: posted(deployment, job, failures)])
    assert {tuple(sorted(pair)) for pair in zip(one, two, strict=True)} == {("duplicate", "saved")}
    assert_ended(deployment, job, "SUCCESS", saved=one.count("saved"), failed=two.count("saved"))


def test_sixteen_posters_on_forty_jobs_with_overlapping_duplicates_count_every_task_once(deployment):
    project_id = project()
    made = [dispatched(deployment, 40, project_id, failure_threshold=0.2) for _ in range(40)]
    results = {job.id: [result_of(task) for task in claimed(deployment, job)] for job in made}

    def poster(seed):
        # Every batch is posted by two posters, each in an order of its own, some batches of one job side by side.
        chance = random.Random(seed)
        work = [(job, batch) for job in made for batch in portions(results[job.id], 20)]
        mine = [item for number, item in enumerate(work) if number % 8 == seed % 8]
        chance.shuffle(mine)
        return lambda: [
            answer
            for job, batch in mine
            for answer in until_taken(lambda job=job, batch=batch: posted(deployment, job, batch))
        ]

    answers = Counter(answer for said in at_once([poster(seed) for seed in range(16)]) for answer in said)
    assert answers == {"saved": 1600, "duplicate": 1600}
    for job in made:
        assert_ended(deployment, job, "SUCCESS", saved=36, failed=4)


def result_of(task):
    return failure(task) if task.task.ordinal % 10 == 0 else success(task)


def test_of_many_finishers_at_once_one_writes_the_verdict(deployment, monkeypatch):
    job = dispatched(deployment, 3)
    with monkeypatch.context() as patch:
        patch.setattr("headcount.flow.account.finalise", lambda deployment, ref: False)
        posted(deployment, job, [success(task) for task in claimed(deployment, job)])
    finishers = [lambda: finalise(deployment, job.ref)] * 4 + [lambda: give_up(deployment, job.ref, "stalled")] * 4
    assert at_once(finishers).count(True) == 1
    assert_ended(deployment, job, "SUCCESS", saved=3)


@pytest.mark.parametrize("attempt", range(4))
def test_a_cancellation_against_posts_leaves_every_task_saved_or_cancelled(deployment, attempt):
    job = dispatched(deployment, 60)
    batches = portions([success(task) for task in claimed(deployment, job)], 15)
    posters = [lambda batch=batch: until_taken(lambda: posted(deployment, job, batch)) for batch in batches]
    answers = Counter(answer for said in at_once([*posters, lambda: cancelled(deployment, job)]) for answer in said)
    jobs_health_check(deployment)
    saved = answers["saved"]
    assert answers == Counter({"saved": saved, "stale": 60 - saved})
    status = jobs.get(job.id).status
    assert status == "REVOKED" or (status, saved) == ("SUCCESS", 60), "or the cancellation came too late"
    assert_ended(deployment, job, status, saved=saved, cancelled=60 - saved)


def cancelled(deployment, job):
    with suppress(ConflictError):
        until_taken(lambda: cancel(deployment, job.id))
    return []


def test_giving_up_against_the_last_results_ends_the_job_once_and_loses_none(deployment):
    job = dispatched(deployment, 30)
    batches = portions([success(task) for task in claimed(deployment, job)], 10)
    posters = [lambda batch=batch: until_taken(lambda: posted(deployment, job, batch)) for batch in batches]
    answers = at_once([*posters, lambda: [str(give_up(deployment, job.ref, "stalled"))]])
    assert [answer for said in answers[:-1] for answer in said] == ["saved"] * 30
    ended = jobs.get(job.id)
    assert ended.status in {"SUCCESS", "REVOKED"}
    certificate = Certificate.objects.get(job_id=job.id)
    assert (certificate.status, ended.status == "SUCCESS") == (ended.status, certificate.saved == 30)
    assert_saved_exactly(job.ref, 60)


def test_no_task_is_handed_to_two_workers_at_once(deployment):
    job = dispatched(deployment, 100)
    handed = at_once([lambda n=n: claimed(deployment, job, 20, f"w{n}") for n in range(8)])
    ordinals = [task.task.ordinal for tasks in handed for task in tasks]
    assert sorted(ordinals) == list(range(100))
    assert set(Task.objects.filter(job_id=job.id).values_list("attempts", flat=True)) == {1}


def test_workers_that_claim_post_and_give_back_at_once_do_every_task_once(deployment):
    job = dispatched(deployment, 120)

    def worker(seed):
        chance = random.Random(seed)
        while tasks := until_taken(lambda: claimed(deployment, job, chance.randint(1, 15), f"w{seed}")):
            kept = [task for task in tasks if chance.random() < 0.8]
            given_back = [task.token for task in tasks if task not in kept]
            until_taken(lambda given_back=given_back: release(deployment, job.project_id, given_back))
            answers = until_taken(lambda kept=kept: posted(deployment, job, [success(task) for task in kept]))
            assert set(answers) <= {"saved"}

    at_once([lambda seed=seed: worker(seed) for seed in range(6)])
    while ledger.counts(job.id).open:
        worker(99)
    assert_ended(deployment, job, "SUCCESS", saved=120)


def test_dispatchers_at_once_collect_and_publish_every_task_once(deployment, monkeypatch):
    monkeypatch.setattr("headcount.flow.collect.CHUNK", 7)
    monkeypatch.setattr("headcount.flow.publish.CHUNK", 7)
    job = submitted(deployment, 50)
    at_once([lambda: until_taken(lambda: run_job(deployment, job.ref))] * 3)
    tasks = claimed(deployment, job)
    assert [(task.task.ordinal, task.task.attempt) for task in tasks] == [(n, 1) for n in range(50)]
    assert len({task.task.key for task in tasks}) == jobs.get(job.id).task_total == 50


def test_health_checks_at_once_among_workers_do_no_harm(deployment):
    job = dispatched(deployment, 60)

    def worker():
        while tasks := until_taken(lambda: claimed(deployment, job, 5)):
            until_taken(lambda tasks=tasks: posted(deployment, job, [success(task) for task in tasks]))

    at_once([worker] * 3 + [lambda: [jobs_health_check(deployment) for _ in range(10)]] * 2)
    assert_ended(deployment, job, "SUCCESS", saved=60)
    assert events_named(job, "repair.republish") == []
