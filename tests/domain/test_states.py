"""Where a job may go from where, and what a word from elsewhere means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount.domain.states import (
    ACCOUNTED_TASK_STATES,
    FINAL_STATES,
    OPEN_TASK_STATES,
    RUNNING_STATES,
    WORKABLE_STATES,
    JobState,
    TaskState,
    from_states,
)

CREATED, PENDING, STARTED, RETRY, CANCELING, SUCCESS, FAILURE, REVOKED = JobState
LEGAL = {
    CREATED: {PENDING, STARTED, CANCELING, SUCCESS, FAILURE, REVOKED},
    PENDING: {STARTED, CANCELING, SUCCESS, FAILURE, REVOKED},
    STARTED: {RETRY, CANCELING, SUCCESS, FAILURE, REVOKED},
    RETRY: {STARTED, CANCELING, SUCCESS, FAILURE, REVOKED},
    CANCELING: {REVOKED},
    SUCCESS: {CREATED},
    FAILURE: {CREATED},
    REVOKED: {CREATED},
}
"""The whole table, written out, so that a change of any pair is a change here."""


@pytest.mark.parametrize("target", JobState)
@pytest.mark.parametrize("source", JobState)
def test_every_pair_of_states_is_as_the_table_has_it(source: JobState, target: JobState) -> None:
    assert (source in from_states(target)) == (target in LEGAL[source])


def test_states_are_either_final_or_running() -> None:
    assert {SUCCESS, FAILURE, REVOKED} == FINAL_STATES
    assert set(JobState) == FINAL_STATES | RUNNING_STATES
    assert not FINAL_STATES & RUNNING_STATES
    assert {CREATED, CANCELING} == RUNNING_STATES - WORKABLE_STATES
    assert [state.is_final for state in JobState] == [state in FINAL_STATES for state in JobState]


def test_tasks_are_either_open_or_accounted() -> None:
    assert {TaskState.SAVED, TaskState.FAILED, TaskState.CANCELLED} == ACCOUNTED_TASK_STATES
    assert {state for state in TaskState if state.is_open} == OPEN_TASK_STATES == set(TaskState) - ACCOUNTED_TASK_STATES


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("spelling", [str.upper, str.lower, str.title])
def test_known_words_are_parsed_in_any_case(state: JobState, spelling) -> None:
    assert JobState.parse(spelling(state.value)) is state
    assert JobState.parse(state) is state


@pytest.mark.parametrize("word", ["", " ", "RECEIVED", "REJECTED", "IGNORED", "SUCCESS ", "Success\x00", "CANCELLED"])
def test_words_nobody_knows_are_tolerated(word: str) -> None:
    assert JobState.parse(word) is None


@pytest.mark.parametrize("value", [None, 0, 1.5, b"SUCCESS", [], object(), float("nan")])
def test_what_is_no_text_is_tolerated(value: object) -> None:
    assert JobState.parse(value) is None


@given(st.text())
def test_any_text_is_parsed_without_an_error(text: str) -> None:
    parsed = JobState.parse(text)
    assert parsed is None or parsed.value == text.upper()
