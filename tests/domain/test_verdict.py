"""How a job ends: the exact share of failed tasks against the threshold as it is written in decimal."""

from decimal import Decimal
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headcount.domain.records import TaskCounts
from headcount.domain.states import JobState
from headcount.domain.verdict import cancelled, describe, given_up, live_bound, verdict

THRESHOLDS = ["0", "0.0", "0.1", "0.2", "0.25", "0.3", "0.333", "0.5", "0.7", "0.9", "1", "1.0"]
NUMBERS = st.integers(0, 10**7)


def oracle(saved: int, failed: int, given_up_on: int, threshold: str) -> JobState:
    """The rule in whole numbers: failed / total > threshold, without a division."""
    total = saved + failed + given_up_on
    limit = Decimal(threshold).as_integer_ratio()
    return JobState.FAILURE if failed * limit[1] > limit[0] * total else JobState.SUCCESS


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_all_small_jobs_end_as_whole_numbers_say(threshold: str) -> None:
    for saved, failed, gone in product(range(12), repeat=3):
        counts = TaskCounts(saved=saved, failed=failed, cancelled=gone)
        assert verdict(counts, float(threshold)).status is oracle(saved, failed, gone, threshold), counts


@given(saved=NUMBERS, failed=NUMBERS, gone=NUMBERS, hundredths=st.integers(0, 100))
def test_jobs_of_any_size_end_as_whole_numbers_say(saved: int, failed: int, gone: int, hundredths: int) -> None:
    threshold = str(Decimal(hundredths) / 100)
    counts = TaskCounts(saved=saved, failed=failed, cancelled=gone)
    assert verdict(counts, float(threshold)).status is oracle(saved, failed, gone, threshold)


@pytest.mark.parametrize(
    ("threshold", "total"),
    [(0.1, 10), (0.1, 30), (0.1, 1_000_000), (0.2, 5), (0.3, 10), (0.3, 1_000), (0.5, 2), (0.7, 10), (0.7, 100)],
)
def test_failures_exactly_at_the_threshold_are_allowed_and_one_more_is_not(threshold: float, total: int) -> None:
    at = int(Fraction(str(threshold)) * total)
    ends = [
        verdict(TaskCounts(saved=total - failed, failed=failed), threshold).status for failed in (at - 1, at, at + 1)
    ]
    assert ends == [JobState.SUCCESS, JobState.SUCCESS, JobState.FAILURE]


def test_where_binary_fractions_would_err_decimal_ones_do_not() -> None:
    # As binary fractions 0.3 is less than 3/10, so a comparison of them calls exactly three of ten too many.
    assert Fraction(3, 10) > Fraction(0.3)
    assert verdict(TaskCounts(saved=7, failed=3), 0.3).status is JobState.SUCCESS
    assert verdict(TaskCounts(saved=7, failed=3), 0.1 + 0.2).status is JobState.SUCCESS
    assert verdict(TaskCounts(saved=9, failed=1), 0.1).status is JobState.SUCCESS


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_a_job_of_no_tasks_succeeds(threshold: float) -> None:
    decision = verdict(TaskCounts(), threshold)
    assert (decision.status, decision.arithmetic) == (JobState.SUCCESS, "0 tasks")


def test_no_failure_is_allowed_by_a_threshold_of_zero_and_every_one_by_a_threshold_of_one() -> None:
    assert verdict(TaskCounts(saved=10**9 - 1, failed=1), 0.0).status is JobState.FAILURE
    assert verdict(TaskCounts(failed=5), 1.0).status is JobState.SUCCESS


@given(counts=st.builds(TaskCounts, *[st.integers(0, 3)] * 6), threshold=st.floats(0, 1))
def test_there_is_no_verdict_while_a_task_is_open(counts: TaskCounts, threshold: float) -> None:
    assume(counts.open)
    with pytest.raises(ValueError, match=f"{counts.open} of {counts.total} tasks are still open"):
        verdict(counts, threshold)


def test_the_arithmetic_can_be_read() -> None:
    assert verdict(TaskCounts(saved=7, failed=3), 0.3).arithmetic == "3 failed / 10 = 0.3000 <= 0.3"
    assert verdict(TaskCounts(saved=6, failed=4), 0.3).arithmetic == "4 failed / 10 = 0.4000 > 0.3"


@pytest.mark.parametrize("counts", [TaskCounts(), TaskCounts(1, 2, 3, 4, 5, 6), TaskCounts(saved=9)])
def test_what_is_cancelled_or_given_up_is_revoked_with_its_sum(counts: TaskCounts) -> None:
    assert cancelled(counts).status is given_up(counts, "why").status is JobState.REVOKED
    assert given_up(counts, "nobody works").reason == "nobody works"
    assert cancelled(counts).arithmetic == describe(counts)


def test_the_conservation_sum_names_every_state() -> None:
    expected = "21 = 1 waiting + 2 leased + 3 received + 4 saved + 5 failed + 6 cancelled"
    assert describe(TaskCounts(1, 2, 3, 4, 5, 6)) == expected


BOUND_THRESHOLDS = sorted({Fraction(n, d) for d in range(1, 13) for n in range(d + 1)})


@pytest.mark.parametrize("total", range(31))
def test_the_live_bound_is_what_the_verdict_would_say_of_every_end(total: int) -> None:
    """Of every job of so many tasks, with so many failed so far, under thresholds on both sides of every step."""
    thresholds = [*map(float, BOUND_THRESHOLDS), *map(float, THRESHOLDS), 0.1 + 0.2, 1e-9, 1 - 1e-9]
    for threshold, failed in product(thresholds, range(total + 1)):
        bound = live_bound(total, failed, threshold)
        for more in range(total - failed + 1):
            end = verdict(TaskCounts(saved=total - failed - more, failed=failed + more), threshold)
            assert (end.status is JobState.SUCCESS) == (more <= bound.failures_left), (threshold, failed, more)
        assert bound.can_succeed == (
            verdict(TaskCounts(saved=total - failed, failed=failed), threshold).status == "SUCCESS"
        )


@given(total=NUMBERS, failed=NUMBERS, hundredths=st.integers(0, 100))
def test_the_live_bound_of_jobs_of_any_size_is_exact(total: int, failed: int, hundredths: int) -> None:
    assume(failed <= total)
    threshold = float(Decimal(hundredths) / 100)
    left = live_bound(total, failed, threshold).failures_left
    for more in (left, left + 1):
        if 0 <= failed + more <= total:
            counts = TaskCounts(saved=total - failed - more, failed=failed + more)
            assert (verdict(counts, threshold).status is JobState.SUCCESS) == (more <= left)


@pytest.mark.parametrize(
    ("failed", "says"),
    [
        (0, "can still succeed: at most 2 more failures"),
        (1, "can still succeed: at most 1 more failure"),
        (2, "can still succeed: at most 0 more failures"),
        (3, "can no longer succeed"),
        (9, "can no longer succeed"),
    ],
)
def test_the_live_bound_is_said_in_words(failed: int, says: str) -> None:
    assert str(live_bound(10, failed, 0.2)) == says
