"""Handing tasks out: the attempt is the fence, and a lease belongs to one attempt."""

from datetime import UTC, datetime, timedelta

import pytest

from headcount.domain.records import LeasedTask, Outcome, TaskCounts
from headcount.domain.states import TaskState
from headcount.models import Task
from headcount.store import ledger
from headcount.testing.factories import EPOCH, lease, make_started_job

pytestmark = pytest.mark.django_db
LATER = EPOCH + timedelta(minutes=5)
NEVER = datetime.max.replace(tzinfo=UTC)


def task(job_id: int, ordinal: int) -> Task:
    return Task.objects.get(job_id=job_id, ordinal=ordinal)


def test_a_task_handed_out_is_leased_in_its_first_attempt() -> None:
    job = make_started_job(3)
    assert lease(job, [2, 0], worker="w1") == [
        LeasedTask(0, "k0", {"number": 0}, 1),
        LeasedTask(2, "k2", {"number": 2}, 1),
    ]
    row = task(job.id, 0)
    assert (row.state, row.worker, row.leased_until) == ("leased", "w1", EPOCH + timedelta(seconds=30))
    assert ledger.counts(job.id) == TaskCounts(waiting=1, leased=2)


def test_handing_out_again_is_the_next_attempt_of_the_next_worker() -> None:
    job = make_started_job(1)
    assert [lease(job, [0], worker=f"w{number}")[0].attempt for number in range(3)] == [1, 2, 3]
    assert task(job.id, 0).worker == "w2"


def test_what_is_accounted_spent_or_unknown_is_not_handed_out() -> None:
    job = make_started_job(4)
    ledger.account(job.id, [Outcome(0, None, {}), Outcome(1, None, error="e")], EPOCH)
    for _ in range(2):
        lease(job, [2], max_attempts=2)
    assert [item.ordinal for item in lease(job, [0, 1, 2, 3, 99], max_attempts=2)] == [3]
    ledger.cancel_open(job.id, EPOCH)
    assert lease(job, [0, 1, 2, 3]) == []


def test_a_released_attempt_does_not_count_against_the_limit() -> None:
    job = make_started_job(1)
    for attempt in range(1, 5):
        assert [item.attempt for item in lease(job, [0], max_attempts=1)] == [attempt]
        assert lease(job, [0], max_attempts=1) == []
        assert ledger.release_leases(job.id, [(0, attempt)]) == {(0, attempt)}
    row = task(job.id, 0)
    assert (row.state, row.attempts, row.releases, row.leased_until) == ("waiting", 4, 4, None)


@pytest.mark.parametrize("change", ["extend", "release"])
def test_only_the_current_attempt_of_a_leased_task_can_change_its_lease(change: str) -> None:
    job = make_started_job(5)
    lease(job, [0, 1, 2, 3])
    lease(job, [1])
    ledger.account(job.id, [Outcome(2, 1, {})], EPOCH)
    ledger.release_leases(job.id, [(3, 1)])
    asked = [(0, 1), (1, 1), (1, 2), (2, 1), (3, 1), (4, 0), (4, 1), (99, 1)]
    current = {
        "extend": lambda: ledger.extend_leases(job.id, asked, LATER),
        "release": lambda: ledger.release_leases(job.id, asked),
    }[change]()
    assert current == {(0, 1), (1, 2)}
    after = ("leased", LATER) if change == "extend" else ("waiting", None)
    assert {(task(job.id, ordinal).state, task(job.id, ordinal).leased_until) for ordinal in (0, 1)} == {after}
    assert (task(job.id, 3).releases, task(job.id, 2).state) == (1, "saved")


def test_changing_no_lease_is_no_error() -> None:
    job = make_started_job(1)
    assert ledger.extend_leases(job.id, [], LATER) == ledger.release_leases(job.id, []) == set()


def test_leases_of_another_job_are_left_alone() -> None:
    mine, other = make_started_job(1), make_started_job(1)
    lease(mine, [0])
    lease(other, [0])
    assert ledger.release_leases(mine.id, [(0, 1)]) == {(0, 1)}
    assert task(other.id, 0).state == "leased"


def fail_spent(job_id: int, ordinals: list[int], held_until=LATER, max_attempts: int = 2, latest=NEVER):
    failed = ledger.fail_spent(
        job_id, ordinals, max_attempts=max_attempts, held_until=held_until, latest=latest, now=LATER
    )
    return sorted(item.ordinal for item in failed if item.failed)


def test_a_task_fails_when_its_attempts_are_spent_and_nobody_holds_it() -> None:
    job = make_started_job(5)
    for ordinals in ([0, 1, 2, 3], [0, 1, 2]):
        lease(job, ordinals)
    ledger.release_leases(job.id, [(1, 2)])
    ledger.account(job.id, [Outcome(2, None, {})], EPOCH)
    assert fail_spent(job.id, [0, 1, 2, 3, 4, 99]) == [0]
    row = task(job.id, 0)
    assert (row.state, row.leased_until, row.accounted_at) == ("failed", None, LATER)
    assert row.error == "lost: handed out 2 times and no result came back"
    assert fail_spent(job.id, [0, 1, 2, 3, 4]) == []


def test_a_spent_task_that_waits_fails() -> None:
    job = make_started_job(1)
    for _ in range(3):
        lease(job, [0])
    ledger.release_leases(job.id, [(0, 3)])
    assert fail_spent(job.id, [0]) == [0]


def test_a_spent_task_that_is_still_held_does_not_fail() -> None:
    job = make_started_job(1)
    lease(job, [0])
    end = EPOCH + timedelta(seconds=30)
    assert fail_spent(job.id, [0], held_until=end, max_attempts=1) == []
    assert fail_spent(job.id, [0], held_until=end, max_attempts=1, latest=end) == []
    assert fail_spent(job.id, [0], held_until=end + timedelta(microseconds=1), max_attempts=1) == [0]


def test_a_spent_task_under_a_lease_that_ends_later_than_any_does_fails() -> None:
    job = make_started_job(1)
    lease(job, [0])
    end = EPOCH + timedelta(seconds=30)
    assert fail_spent(job.id, [0], held_until=EPOCH, max_attempts=1, latest=end - timedelta(microseconds=1)) == [0]


def test_only_the_tasks_named_fail() -> None:
    job = make_started_job(2)
    lease(job, [0, 1])
    assert fail_spent(job.id, [1], max_attempts=1) == [1]
    assert ledger.counts(job.id) == TaskCounts(leased=1, failed=1)


def test_open_tasks_that_no_running_lease_covers_are_unheld() -> None:
    job = make_started_job(4)
    lease(job, [0, 1])
    ledger.account(job.id, [Outcome(1, 1, {})], EPOCH)
    end = EPOCH + timedelta(seconds=30)
    before = end - timedelta(microseconds=1)
    assert ledger.unspent_ordinals(job.id, 2, before, NEVER) == [2, 3]
    assert ledger.unspent_ordinals(job.id, 2, before, end) == [2, 3]
    assert ledger.unspent_ordinals(job.id, 2, end, NEVER) == [0, 2, 3]
    assert ledger.unspent_ordinals(job.id, 2, EPOCH, before) == [0, 2, 3], "no lease ends so late"
    assert ledger.spent_ordinals(job.id, 1, before, end) == []
    assert ledger.spent_ordinals(job.id, 1, end, NEVER) == ledger.spent_ordinals(job.id, 1, EPOCH, before) == [0]
    assert ledger.open_ordinals(job.id) == [0, 2, 3]


def test_rows_tell_state_attempt_and_error() -> None:
    job = make_started_job(3)
    lease(job, [0, 1])
    ledger.account(job.id, [Outcome(1, 1, error="broke")], EPOCH)
    rows = ledger.rows(job.id, [0, 1, 2, 99])
    told = {ordinal: (row.key, row.state, row.attempt, row.error) for ordinal, row in rows.items()}
    assert told == {
        0: ("k0", TaskState.LEASED, 1, None),
        1: ("k1", TaskState.FAILED, 1, "broke"),
        2: ("k2", TaskState.WAITING, 0, None),
    }
    assert [row.ordinal for row in ledger.stream(job.id, [TaskState.LEASED, TaskState.FAILED])] == [0, 1]
