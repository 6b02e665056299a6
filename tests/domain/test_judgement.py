"""Which outcome of several is tried, and what is said of one that changed nothing."""

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount.domain.judgement import one_per_task, storable_reason, why_not_counted
from headcount.domain.records import Outcome, TaskRow
from headcount.domain.states import AnswerStatus, TaskState

OUTCOMES = st.lists(
    st.builds(
        lambda ordinal, attempt, error: Outcome(ordinal, attempt, None if error else {}, error),
        st.integers(0, 3),
        st.none() | st.integers(1, 3),
        st.none() | st.just("error"),
    )
)


@given(OUTCOMES)
def test_of_several_outcomes_the_best_is_tried(outcomes: list[Outcome]) -> None:
    chosen = one_per_task(outcomes)
    assert set(chosen) == {outcome.ordinal for outcome in outcomes}
    for ordinal, outcome in chosen.items():
        twins = [twin for twin in outcomes if twin.ordinal == ordinal]
        successes = [twin for twin in twins if twin.error is None]
        rivals = successes or twins
        latest = max(rival.attempt or 0 for rival in rivals)
        assert outcome is next(rival for rival in rivals if (rival.attempt or 0) == latest)


def test_a_success_is_tried_before_a_failure_in_any_order() -> None:
    success, early, late = Outcome(0, 1, {}), Outcome(0, 1, error="early"), Outcome(0, 2, error="late")
    for order in permutations([success, early, late]):
        assert one_per_task(order) == {0: success}
    for order in permutations([early, late]):
        assert one_per_task(order) == {0: late}


def test_of_equals_the_first_is_tried() -> None:
    first, second = Outcome(0, 1, {"n": 1}), Outcome(0, 1, {"n": 2})
    assert one_per_task([first, second])[0] is first


def test_of_nothing_nothing_is_tried() -> None:
    assert one_per_task([]) == {}


def expected(state: TaskState, named_key: str | None) -> AnswerStatus:
    if named_key == "other":
        return AnswerStatus.REJECTED
    if state in (TaskState.SAVED, TaskState.FAILED):
        return AnswerStatus.DUPLICATE
    return AnswerStatus.STALE


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("named_key", [None, "key", "other"])
@pytest.mark.parametrize("error", [None, "error"])
def test_every_reason_for_not_counting(state: TaskState, named_key: str | None, error: str | None) -> None:
    for attempt, current in product((None, 1, 2), (1, 2)):
        outcome = Outcome(3, attempt, None if error else {}, error, named_key)
        rows = {3: TaskRow(9, 3, "key", state, current), 4: TaskRow(8, 4, "other", TaskState.WAITING, 0)}
        status, reason = why_not_counted(outcome, rows)
        assert status is expected(state, named_key)
        assert reason


def test_reasons_name_what_they_rest_on() -> None:
    row = {3: TaskRow(9, 3, "key", TaskState.LEASED, 2)}
    assert "attempt 1, the task is in attempt 2" in why_not_counted(Outcome(3, 1, error="e"), row)[1]
    assert "'other' but the lease is for 'key'" in why_not_counted(Outcome(3, 1, {}, named_key="other"), row)[1]
    cancelled = {3: TaskRow(9, 3, "key", TaskState.CANCELLED, 2)}
    assert "cancelled" in why_not_counted(Outcome(3, 2, {}), cancelled)[1]
    failed = {3: TaskRow(9, 3, "key", TaskState.FAILED, 2)}
    assert "already failed" in why_not_counted(Outcome(3, 2, {}), failed)[1]


def test_a_task_that_the_job_does_not_have_is_rejected() -> None:
    assert why_not_counted(Outcome(3, 1, {}), {}) == (AnswerStatus.REJECTED, "this job has no such task")


@given(st.text(st.characters(codec=None), max_size=30))
def test_any_reason_can_be_stored(text: str) -> None:
    stored = storable_reason(text)
    assert "\x00" not in stored
    assert stored.encode().decode() == stored
    assert len(stored) == len(text)


def test_halves_of_surrogate_pairs_and_overlong_reasons_are_mended() -> None:
    assert storable_reason("a\ud800b\x00c") == "a?b\N{REPLACEMENT CHARACTER}c"
    assert len(storable_reason("x" * 5000)) == 2000
