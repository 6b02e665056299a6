"""Waiting longer after each try, and doing something at most so often, whatever the clock does."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount import clock
from headcount.clock import Throttle, system_clock
from headcount.domain.retry import backoff
from headcount.testing.factories import EPOCH

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(-1, 1), (0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (10**6, 60)]
)
def test_waits_double_up_to_the_longest(attempt: int, seconds: int) -> None:
    assert backoff(attempt) == timedelta(seconds=seconds)


@given(
    attempt=st.integers(0, 5000),
    first=st.timedeltas(timedelta(milliseconds=1), timedelta(hours=1)),
    longest=st.timedeltas(timedelta(0), timedelta(days=7)),
)
def test_waits_never_shrink_nor_exceed_the_longest(attempt: int, first: timedelta, longest: timedelta) -> None:
    now, then = (backoff(number, first=first, longest=longest) for number in (attempt, attempt + 1))
    assert now <= then <= longest
    assert now == longest or now == first * float(2 ** max(0, attempt - 1))


def test_something_is_allowed_once_in_an_interval() -> None:
    throttle = Throttle(SECOND)
    assert [throttle.allows("key", EPOCH + SECOND * at) for at in (0, 0, 0.5, 0.999, 1, 1.5, 2)] == [
        True, False, False, False, True, False, True,
    ]  # fmt: skip


def test_keys_do_not_silence_one_another() -> None:
    throttle = Throttle(SECOND)
    assert throttle.allows("a", EPOCH)
    assert throttle.allows("b", EPOCH)


def test_a_refusal_does_not_put_the_next_yes_off() -> None:
    throttle = Throttle(SECOND)
    assert throttle.allows("key", EPOCH)
    assert not throttle.allows("key", EPOCH + SECOND * 0.9)
    assert throttle.allows("key", EPOCH + SECOND)


def test_a_clock_that_jumped_back_silences_nothing() -> None:
    throttle = Throttle(SECOND)
    hour = timedelta(hours=1)
    assert throttle.allows("key", EPOCH)
    assert throttle.allows("key", EPOCH - hour)
    assert not throttle.allows("key", EPOCH - hour + SECOND / 2)
    assert throttle.allows("key", EPOCH - hour + SECOND)


@pytest.mark.parametrize("at", [EPOCH, EPOCH + timedelta(days=1)], ids=["long ago", "in a future that was taken back"])
def test_keys_that_silence_nothing_are_forgotten_when_there_are_many(at, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_KEYS_BEFORE_SWEEP", 3)
    throttle = Throttle(SECOND)
    for key in range(10):
        assert throttle.allows(("old", key), at)
    assert throttle.allows("new", EPOCH + timedelta(hours=1))
    assert throttle._allowed_at.keys() == {"new"}


def test_keys_that_still_silence_are_kept_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_KEYS_BEFORE_SWEEP", 3)
    throttle = Throttle(SECOND)
    assert all(throttle.allows(key, EPOCH) for key in range(10))
    assert not any(throttle.allows(key, EPOCH) for key in range(10))


def test_the_system_clock_tells_utc() -> None:
    assert system_clock().utcoffset() == timedelta(0)
