"""Accounting outcomes: only an open task counts, once, and only where the outcome may speak for it."""

from itertools import product

import pytest

from headcount.domain.records import AccountedTask, Outcome, TaskCounts
from headcount.domain.states import TaskState
from headcount.models import Task
from headcount.store import ledger
from headcount.testing.factories import EPOCH, lease, make_started_job
from tests.store.conftest import AtOnce

pytestmark = pytest.mark.django_db


def account(job_id: int, *outcomes: Outcome) -> list[tuple[int, bool]]:
    return sorted((item.ordinal, item.failed) for item in ledger.account(job_id, outcomes, EPOCH))


def test_outcomes_are_accounted_as_saved_or_failed() -> None:
    job = make_started_job(3)
    lease(job, [0, 1])
    ids = dict(Task.objects.filter(job_id=job.id).values_list("ordinal", "id"))
    accounted = ledger.account(job.id, [Outcome(0, 1, {}), Outcome(1, 1, error="why")], EPOCH)
    assert sorted(accounted, key=lambda item: item.ordinal) == [
        AccountedTask(ids[0], 0, "k0", failed=False),
        AccountedTask(ids[1], 1, "k1", failed=True),
    ]
    rows = Task.objects.filter(job_id=job.id).order_by("ordinal")
    assert list(rows.values_list("state", "error", "accounted_at", "leased_until")) == [
        ("saved", None, EPOCH, None),
        ("failed", "why", EPOCH, None),
        ("waiting", None, None, None),
    ]
    assert ledger.counts(job.id) == TaskCounts(waiting=1, saved=1, failed=1)


@pytest.mark.parametrize("first", [None, "error"])
@pytest.mark.parametrize("second", [None, "error"])
def test_a_duplicate_changes_nothing(first: str | None, second: str | None) -> None:
    job = make_started_job(1)
    lease(job, [0])
    assert account(job.id, Outcome(0, 1, None if first else {}, first)) == [(0, first is not None)]
    before = Task.objects.values().get(job_id=job.id)
    assert account(job.id, Outcome(0, 1, None if second else {}, second)) == []
    assert Task.objects.values().get(job_id=job.id) == before


def prepared(state: TaskState) -> int:
    """Make a job with one task in a state, in attempt 2."""
    job = make_started_job(1)
    lease(job, [0])
    lease(job, [0])
    match state:
        case TaskState.WAITING:
            ledger.release_leases(job.id, [(0, 2)])
        case TaskState.RECEIVED:
            Task.objects.filter(job_id=job.id).update(state=state, leased_until=None)
        case TaskState.SAVED | TaskState.FAILED:
            account(job.id, Outcome(0, None, *((None, "e") if state is TaskState.FAILED else ({}, None))))
        case TaskState.CANCELLED:
            ledger.cancel_open(job.id, EPOCH)
    assert ledger.rows(job.id, [0])[0].state is state
    return job.id


@pytest.mark.parametrize("state", TaskState)
def test_what_counts_in_every_state(state: TaskState) -> None:
    """A success counts from any attempt, a failure only from the current one or without a lease."""
    for error, attempt, named_key in product([None, "error"], [None, 1, 2, 3], [None, "k0", "other"]):
        job_id = prepared(state)
        outcome = Outcome(0, attempt, None if error else {}, error, named_key)
        may_speak = named_key != "other" and (error is None or attempt in (None, 2))
        expected = [(0, error is not None)] if state.is_open and may_speak else []
        assert account(job_id, outcome) == expected, outcome


def test_tasks_the_job_does_not_have_are_left_out() -> None:
    mine, other = make_started_job(1), make_started_job(2)
    assert account(mine.id, Outcome(1, None, {}), Outcome(-1, None, {}), Outcome(0, None, {})) == [(0, False)]
    assert ledger.counts(other.id) == TaskCounts(waiting=2)


def test_accounting_nothing_is_no_error() -> None:
    assert account(make_started_job(1).id) == []


def test_a_reason_of_any_text_comes_back() -> None:
    job = make_started_job(1)
    reason = "it broke: 'quote\" \\ \n\t % %s \u2028 \U0001f41b"
    account(job.id, Outcome(0, None, error=reason))
    assert ledger.rows(job.id, [0])[0].error == reason


def test_cancelling_settles_what_is_open_and_nothing_else() -> None:
    job = make_started_job(4)
    lease(job, [0])
    account(job.id, Outcome(1, None, {}), Outcome(2, None, error="e"))
    assert ledger.cancel_open(job.id, EPOCH) == 2
    assert ledger.counts(job.id) == TaskCounts(saved=1, failed=1, cancelled=2)
    assert ledger.cancel_open(job.id, EPOCH) == 0


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_accounts_each_task(at_once: AtOnce) -> None:
    job = make_started_job(40)
    outcomes = [Outcome(ordinal, None, {}) for ordinal in range(40)]
    shuffled = [outcomes[start:] + outcomes[:start] for start in range(0, 40, 5)]
    accounted = at_once([lambda batch=batch: ledger.account(job.id, batch, EPOCH) for batch in shuffled])
    assert sorted(item.ordinal for batch in accounted for item in batch) == list(range(40))
    assert ledger.counts(job.id) == TaskCounts(saved=40)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_each_hands_out_an_attempt_of_its_own(at_once: AtOnce) -> None:
    job = make_started_job(10)
    taken = at_once([lambda: lease(job, range(10), max_attempts=6)] * 8)
    for ordinal in range(10):
        attempts = sorted(item.attempt for batch in taken for item in batch if item.ordinal == ordinal)
        assert attempts == [1, 2, 3, 4, 5, 6]
