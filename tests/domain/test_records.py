"""Counts add up, and what is absent never reads as complete."""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount.domain.records import JobProgress, JobRecord, JobRef, Outcome, StageProgress, TaskCounts
from headcount.domain.states import DispatchMode, JobState, Stage, TaskState
from headcount.testing.factories import EPOCH

COUNT = st.integers(0, 10**6)


@given(st.builds(TaskCounts, *[COUNT] * 6))
def test_counts_add_up(counts: TaskCounts) -> None:
    by_state = counts.by_state()
    assert list(by_state) == [state.value for state in TaskState]
    assert counts.total == sum(by_state.values()) == counts.open + counts.accounted
    assert counts.open == sum(by_state[state] for state in TaskState if state.is_open)
    assert counts.failed_share == (Fraction(counts.failed, counts.total) if counts.total else 0)


def test_share_of_no_tasks_exceeds_nothing() -> None:
    assert not TaskCounts().exceeds(0.0)


@pytest.mark.parametrize("total", [None, 0, 1, 2])
def test_a_stage_is_complete_when_its_known_total_is_accounted(total: int | None) -> None:
    for done, failed in product(range(3), repeat=2):
        complete = total is not None and done + failed >= total
        assert StageProgress(Stage.PROCESS, total, done, failed).is_complete == complete


def test_progress_is_complete_only_with_every_stage_there_and_complete() -> None:
    for total in (0, 3):
        whole = [StageProgress(stage, total, total) for stage in Stage]
        assert JobProgress(tuple(whole)).is_complete()
        for number in range(len(whole)):
            for some in combinations(whole, number):
                assert not JobProgress(some).is_complete()


@pytest.mark.parametrize("stage", Stage)
def test_one_stage_that_lags_or_has_no_total_keeps_progress_from_completion(stage: Stage) -> None:
    whole = {item: StageProgress(item, 3, 2, 1) for item in Stage}
    for worse in (StageProgress(stage, 3, 2, 0), StageProgress(stage, None, 2, 1), StageProgress(stage, None)):
        assert not JobProgress(tuple((whole | {stage: worse}).values())).is_complete()


def test_progress_of_nothing_is_not_complete() -> None:
    assert not JobProgress().is_complete()


def test_a_stage_that_is_not_there_has_no_total() -> None:
    known = StageProgress(Stage.COLLECT, 5, 5)
    assert JobProgress((known,)).stage(Stage.COLLECT) == known
    assert JobProgress((known,)).stage(Stage.RESULTS) == StageProgress(Stage.RESULTS, None, 0, 0)


@pytest.mark.parametrize(("result", "error"), [(None, None), ({}, "error"), ({"a": 1}, "")])
def test_an_outcome_is_a_result_or_an_error(result: object, error: str | None) -> None:
    with pytest.raises(ValueError, match="either a result or an error"):
        Outcome(0, 1, result=result, error=error)


def test_an_empty_result_and_an_empty_error_are_outcomes() -> None:
    assert Outcome(0, 1, result={}).error is None
    assert Outcome(0, 1, error="").result is None


JOB = JobRecord(
    id=7,
    run=2,
    kind="note",
    name="",
    project_id=1,
    pipeline=None,
    dispatch_mode=DispatchMode.INTERNAL,
    status="STARTED",
    task_total=None,
    published=False,
    failure_threshold=0.5,
    priority=0,
    config={},
    created_at=EPOCH,
)


@pytest.mark.parametrize("state", JobState)
def test_a_job_is_final_when_its_state_is(state: JobState) -> None:
    job = replace(JOB, status=state.value)
    assert (job.state, job.is_final, job.ref) == (state, state.is_final, JobRef(7, 2))


def test_a_job_whose_status_nobody_knows_is_not_final() -> None:
    job = replace(JOB, status="MELTED")
    assert (job.state, job.is_final) == (None, False)
