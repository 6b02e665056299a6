"""A clock that was set back an hour: what was noted before for a time that is now far ahead keeps no run waiting."""

from datetime import UTC, datetime, timedelta

import pytest

from headcount.domain.records import JobRef
from headcount.domain.retry import LONGEST_WAIT
from headcount.engines.celery import rows
from headcount.engines.celery.rows import Busy, Held, Message
from headcount.engines.database.dispatcher import DatabaseDispatcher, Runner
from headcount.testing.clock import FrozenClock

pytestmark = pytest.mark.django_db

JOB = JobRef(1, 1)
MESSAGE = Message(JOB, 0, "anything")
LEASE = timedelta(seconds=10)
BEFORE = datetime(2026, 1, 1, 12, tzinfo=UTC)
AFTER = BEFORE - timedelta(hours=1)


def begun(now: datetime) -> Held | Busy | None:
    return rows.begin(MESSAGE, now, LEASE)


def revived(now: datetime) -> bool:
    return rows.revive(JOB, now, lost_before=now - 3 * LEASE)


@pytest.fixture
def published() -> None:
    rows.enter(JOB, BEFORE)
    rows.note_published(MESSAGE, BEFORE)


@pytest.mark.usefixtures("published")
class TestCelery:
    def test_a_run_whose_lease_ends_in_an_hour_is_taken_up(self) -> None:
        assert isinstance(begun(BEFORE), Held)
        assert begun(BEFORE) == Busy(BEFORE + LEASE)
        assert begun(AFTER) == Held(JOB, 2, 2)
        assert begun(AFTER) == Busy(AFTER + LEASE)

    @pytest.mark.parametrize("skew", [timedelta(0), LEASE, -LEASE])
    def test_clocks_that_differ_by_less_than_a_lease_take_nothing_from_each_other(self, skew: timedelta) -> None:
        assert isinstance(begun(BEFORE), Held)
        assert isinstance(begun(BEFORE + skew), Busy)

    def test_a_run_that_died_is_revived(self) -> None:
        begun(BEFORE)
        assert not revived(BEFORE)
        assert revived(AFTER)
        assert not revived(AFTER)

    def test_a_message_that_was_lost_is_sent_again_once(self) -> None:
        assert not revived(BEFORE)
        assert revived(AFTER)
        rows.note_published(Message(JOB, 1, "anything"), AFTER)
        assert not revived(AFTER)

    def test_a_run_that_was_put_off_is_not_put_off_for_an_hour(self) -> None:
        held = begun(BEFORE)
        assert isinstance(held, Held)
        rows.put_back(held, "RETRY", BEFORE + LONGEST_WAIT, attempts=1)
        rows.note_published(MESSAGE, BEFORE)
        assert not revived(BEFORE)
        assert revived(AFTER)


@pytest.mark.parametrize("tries", [0, 1, 9])
def test_a_run_that_waits_for_the_embedded_runner_is_taken_up(tries: int) -> None:
    clock = FrozenClock(BEFORE)
    dispatcher = DatabaseDispatcher(clock)
    done: list[JobRef] = []
    failures = iter(range(tries))

    def run(job: JobRef, _: object) -> None:
        if next(failures, None) is not None:
            raise ValueError
        done.append(job)

    runner = Runner(dispatcher, run=run, abandon=print, clock=clock, lease=LEASE, max_attempts=10)
    dispatcher.enqueue(JOB)
    for _ in range(tries):
        assert runner.run_one()
        assert not runner.run_one(), "it waits its turn"
        clock.advance(LONGEST_WAIT)
    if tries:
        clock.advance(-LONGEST_WAIT)
    clock.advance(AFTER - BEFORE)
    assert runner.run_one()
    assert done == [JOB]
