"""What every state manager must do: subclass ``StateManagerContract`` in a test module and give it a ``state``.

The name of the subclass begins with ``Test``. Each test takes jobs of its own, so the tests of one subclass may share
an engine that is never emptied.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headcount.domain.records import JobRef, StageProgress
from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.ports.state_manager import AsyncJobStateManager, Mark, Silence, Snapshot, Unknown
from headcount.testing.contracts.state_manager_capabilities import StateManagerCapabilities
from headcount.testing.contracts.state_marks import expected_stages, known, marks_of, new_job

THREADS = 16
"""How many callers there are at once where a test is about concurrency."""

_EXAMPLES = 40
_T = TypeVar("_T")

_marks = st.lists(
    st.builds(Mark, stage=st.sampled_from(Stage), ordinal=st.integers(-2, 14), failed=st.booleans()), max_size=12
)


class StateManagerContract(StateManagerCapabilities):
    """The tests that every engine of the port passes; declare what it is capable of (``StateManagerCapabilities``)."""

    @pytest.fixture
    def state(self) -> AsyncJobStateManager:
        """The engine under test."""
        raise NotImplementedError("give the contract a state manager")

    @staticmethod
    def leave_thread() -> None:
        """Called at the end of every thread that used the engine; an engine on a database closes its connection."""

    def at_once(self, calls: Sequence[Callable[[], _T]]) -> list[_T]:
        """Make calls from many threads that start together; returns their answers in no particular order."""
        shares = [calls[first::THREADS] for first in range(min(THREADS, len(calls)))]
        barrier = Barrier(len(shares))

        def make(share: Sequence[Callable[[], _T]]) -> list[_T]:
            try:
                barrier.wait()
                return [call() for call in share]
            finally:
                self.leave_thread()

        with ThreadPoolExecutor(len(shares)) as threads:
            return [answer for answers in threads.map(make, shares) for answer in answers]

    def test_a_fresh_run_has_nothing_accounted(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 3)
        assert state.snapshot(job) == Snapshot(expected_stages(3, []), 0)
        assert state.all_tasks_processed(job) is False

    def test_a_drained_run_is_processed(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 20)
        answer = known(state.account(job, marks_of(range(20), failed=[3, 19])))
        assert answer == Snapshot(expected_stages(20, marks_of(range(20), failed=[3, 19])), 40)
        assert answer.all_tasks_processed
        assert state.all_tasks_processed(job) is True

    @pytest.mark.parametrize("partial_stage", STATE_MANAGER_STAGES)
    def test_a_run_with_one_stage_partial_is_not_processed(
        self, state: AsyncJobStateManager, partial_stage: Stage
    ) -> None:
        job = new_job()
        state.initialise(job, 9)
        marks = [mark for mark in marks_of(range(9)) if mark.stage is not partial_stage or mark.ordinal != 8]
        answer = known(state.account(job, marks))
        assert answer.stages == expected_stages(9, marks)
        assert not answer.all_tasks_processed
        assert state.all_tasks_processed(job) is False

    def test_a_run_of_no_tasks_is_processed(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 0)
        assert state.all_tasks_processed(job) is True
        assert state.account(job, marks_of([0, 1])) == Snapshot(expected_stages(0, []), 0)

    def test_a_run_never_initialised_is_unknown(self, state: AsyncJobStateManager) -> None:
        job = new_job(run=3)
        assert state.all_tasks_processed(job) is None
        for answer in (state.snapshot(job), state.account(job, marks_of([0])), state.account(job, [])):
            assert isinstance(answer, Unknown)
            assert f"job {job.job_id}, run 3" in answer.reason

    def test_what_is_told_of_an_unknown_run_is_not_remembered(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.account(job, marks_of([0, 1]))
        state.initialise(job, 2)
        assert state.all_tasks_processed(job) is False
        assert known(state.account(job, marks_of([0, 1]))).newly == 4

    def test_a_run_cleaned_up_is_unknown_and_can_begin_again(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 2)
        state.account(job, marks_of([0, 1]))
        state.clean_up(job)
        assert isinstance(state.snapshot(job), Unknown)
        assert state.all_tasks_processed(job) is None
        state.initialise(job, 2)
        assert state.snapshot(job) == Snapshot(expected_stages(2, []), 0)

    def test_cleaning_up_an_unknown_run_does_nothing(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.clean_up(job)
        assert state.all_tasks_processed(job) is None

    def test_an_older_run_does_not_testify_for_a_newer_one(self, state: AsyncJobStateManager) -> None:
        older = new_job()
        newer = JobRef(older.job_id, 2)
        state.initialise(older, 2)
        state.account(older, marks_of([0, 1]))
        assert isinstance(state.snapshot(newer), Unknown)
        assert state.all_tasks_processed(newer) is None

    def test_snapshots_say_of_many_runs_what_snapshot_says_of_each(self, state: AsyncJobStateManager) -> None:
        older, empty, absent = new_job(), new_job(), new_job()
        newer = JobRef(older.job_id, 2)
        state.initialise(older, 4)
        state.initialise(newer, 2)
        state.initialise(empty, 0)
        state.account(older, marks_of([0, 1], failed=[1]))
        state.account(newer, marks_of([0, 1]))
        asked = [absent, newer, JobRef(older.job_id, 3), older, empty, newer]
        answers = state.snapshots(asked)
        assert answers == {job: state.snapshot(job) for job in asked}
        assert known(answers[older]).stages == expected_stages(4, marks_of([0, 1], failed=[1]))
        assert [known(answers[job]).all_tasks_processed for job in (older, newer, empty)] == [False, True, True]

    def test_an_absent_run_is_told_apart_from_silence(self, state: AsyncJobStateManager) -> None:
        known_one, absent = new_job(), [new_job(), new_job(run=5)]
        state.initialise(known_one, 1)
        answers = state.snapshots([known_one, *absent])
        for job in absent:
            answer = answers[job]
            assert isinstance(answer, Unknown)
            assert answer.silence is Silence.ABSENT
            assert f"job {job.job_id}, run {job.run}" in answer.reason

    def test_snapshots_of_no_run_are_none(self, state: AsyncJobStateManager) -> None:
        assert state.snapshots([]) == {}

    def test_snapshots_of_a_thousand_runs_are_told_at_once(self, state: AsyncJobStateManager) -> None:
        asked = [new_job() for _ in range(1000)]
        for job in asked[::50]:
            state.initialise(job, 3)
        answers = state.snapshots(asked)
        assert list(answers) == asked
        assert [job for job in asked if isinstance(answers[job], Snapshot)] == asked[::50]

    def test_what_is_held_is_listed_run_by_run(self, state: AsyncJobStateManager) -> None:
        older, other = new_job(), new_job()
        newer = JobRef(older.job_id, 2)
        for job in (other, newer, older):
            state.initialise(job, 3)
        state.account(newer, marks_of([0]))
        state.clean_up(other)
        holdings = state.held_runs()
        held = [run.job for run in holdings.runs]
        assert held == sorted(set(held))
        assert {older, newer} <= set(held)
        assert other not in held
        assert holdings.unreadable == ()

    def test_runs_of_one_job_are_counted_and_cleaned_up_apart(self, state: AsyncJobStateManager) -> None:
        older = new_job()
        newer = JobRef(older.job_id, 2)
        state.initialise(older, 4)
        state.initialise(newer, 2)
        state.account(older, marks_of([0, 1, 2]))
        assert known(state.account(newer, marks_of([0]))).stages == expected_stages(2, marks_of([0]))
        state.clean_up(older)
        assert known(state.snapshot(newer)).stages == expected_stages(2, marks_of([0]))

    def test_beginning_twice_keeps_what_is_accounted(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 5)
        state.account(job, marks_of([2]))
        state.initialise(job, 5)
        state.initialise(job, 6)
        assert known(state.snapshot(job)).stages == expected_stages(5, marks_of([2]))

    def test_a_repeated_mark_changes_nothing(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 5)
        first = known(state.account(job, marks_of([1, 2], failed=[2]) * 2))
        assert first == Snapshot(expected_stages(5, marks_of([1, 2], failed=[2])), 4)
        assert state.account(job, marks_of([1, 2], failed=[2])) == Snapshot(first.stages, 0)

    @pytest.mark.parametrize("failed_first", [True, False])
    def test_of_two_marks_for_a_task_the_first_counts(self, state: AsyncJobStateManager, failed_first: bool) -> None:  # noqa: FBT001 - a parameter of the test
        job = new_job()
        state.initialise(job, 1)
        first, second = Mark(Stage.PROCESS, 0, failed_first), Mark(Stage.PROCESS, 0, not failed_first)
        state.account(job, [first])
        assert known(state.account(job, [second])).stages == expected_stages(1, [first])

    def test_marks_of_no_task_and_of_no_counted_stage_change_nothing(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 3)
        strangers = [*marks_of([-1, 3, 1_000_000]), Mark(Stage.COLLECT, 0, failed=False)]
        assert state.account(job, strangers) == Snapshot(expected_stages(3, []), 0)
        assert known(state.account(job, [*strangers, *marks_of([2])])).newly == 2

    def test_accounting_nothing_returns_what_is_known(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 3)
        state.account(job, marks_of([0]))
        assert state.account(job, []) == state.snapshot(job) == Snapshot(expected_stages(3, marks_of([0])), 0)

    def test_a_lost_run_is_rebuilt(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        marks = marks_of(range(7), failed=[6])
        rebuilt = state.rebuild_from(job, 9, iter(marks))
        assert rebuilt.stages == known(state.snapshot(job)).stages == expected_stages(9, marks)
        assert known(state.account(job, marks_of(range(9)))).newly == 4
        assert state.all_tasks_processed(job) is True

    def test_a_rebuild_takes_back_what_the_ledger_does_not_have(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 4)
        state.account(job, marks_of(range(4), failed=[1]))
        assert state.rebuild_from(job, 4, marks_of([1, 2])).stages == expected_stages(4, marks_of([1, 2]))
        assert state.all_tasks_processed(job) is False

    def test_a_rebuild_may_correct_the_total(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 40)
        state.account(job, marks_of([39]))
        assert state.rebuild_from(job, 2, marks_of([0, 1])).stages == expected_stages(2, marks_of([0, 1]))
        assert state.all_tasks_processed(job) is True

    def test_a_rebuild_of_no_tasks_is_processed(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        assert state.rebuild_from(job, 0, iter(())).all_tasks_processed
        assert state.all_tasks_processed(job) is True

    def test_a_rebuild_leaves_other_runs_alone(self, state: AsyncJobStateManager) -> None:
        other, job = new_job(), new_job()
        state.initialise(other, 3)
        state.account(other, marks_of([1]))
        state.rebuild_from(job, 3, marks_of(range(3)))
        assert known(state.snapshot(other)).stages == expected_stages(3, marks_of([1]))

    def test_a_rebuild_reads_a_long_ledger(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        failed = range(0, 12_001, 100)
        rebuilt = state.rebuild_from(job, 12_001, (mark for mark in marks_of(range(12_001), failed=failed)))
        assert rebuilt.stages == expected_stages(12_001, marks_of(range(12_001), failed=failed))
        assert rebuilt.all_tasks_processed

    def test_any_sequence_of_accounts_counts_each_task_once(self, state: AsyncJobStateManager) -> None:
        @settings(max_examples=_EXAMPLES, deadline=None)
        @given(total=st.integers(0, 12), batches=st.lists(_marks, max_size=6))
        def holds(total: int, batches: list[list[Mark]]) -> None:
            job = new_job()
            state.initialise(job, total)
            told: list[Mark] = []
            for batch in batches:
                before = known(state.snapshot(job))
                told += batch
                answer = known(state.account(job, batch))
                assert answer.stages == expected_stages(total, told)
                assert answer.newly == _accounted(answer) - _accounted(before)

        holds()

    def test_any_rebuild_says_what_its_marks_say(self, state: AsyncJobStateManager) -> None:
        @settings(max_examples=_EXAMPLES, deadline=None)
        @given(total=st.integers(0, 12), before=_marks, ledger=_marks, after=_marks)
        def holds(total: int, before: list[Mark], ledger: list[Mark], after: list[Mark]) -> None:
            job = new_job()
            state.initialise(job, total)
            state.account(job, before)
            assert state.rebuild_from(job, total, iter(ledger)).stages == expected_stages(total, ledger)
            assert known(state.account(job, after)).stages == expected_stages(total, [*ledger, *after])

        holds()

    def test_many_callers_at_once_count_each_task_once(self, state: AsyncJobStateManager) -> None:
        jobs = [new_job() for _ in range(40)]
        for job in jobs:
            state.initialise(job, 40)
        batches = [(job, batch) for job in jobs for batch in _overlapping_batches(40)]
        random.Random(40).shuffle(batches)  # noqa: S311 - an order to test with, the same in every run

        def account(job: JobRef, batch: list[Mark]) -> tuple[JobRef, Snapshot]:
            return job, known(state.account(job, batch))

        answers: dict[JobRef, list[Snapshot]] = defaultdict(list)
        for job, answer in self.at_once([partial(account, job, batch) for job, batch in batches]):
            answers[job].append(answer)
        for job in jobs:
            assert known(state.snapshot(job)).stages == expected_stages(40, _with_failures(range(40)))
            assert sum(answer.newly for answer in answers[job]) == 80
            completing = [answer for answer in answers[job] if answer.newly and answer.all_tasks_processed]
            assert len(completing) == 1

    def test_many_callers_at_once_begin_one_run(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        self.at_once([partial(_begin_and_account, state, job, 10, ordinal % 10) for ordinal in range(2 * THREADS)])
        assert known(state.snapshot(job)).stages == expected_stages(10, marks_of(range(10)))

    def test_many_callers_at_once_rebuild_one_run(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        ledger = _with_failures(range(50))
        rebuilt = self.at_once([lambda: state.rebuild_from(job, 50, iter(ledger))] * THREADS)
        assert {answer.stages for answer in rebuilt} == {expected_stages(50, ledger)}
        assert known(state.snapshot(job)).stages == expected_stages(50, ledger)

    def test_a_rebuild_among_accounts_never_counts_a_task_twice(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        ledger = _with_failures(range(40))
        state.initialise(job, 40)

        def account(batch: list[Mark]) -> Snapshot:
            return known(state.account(job, batch))

        accounts = [partial(account, batch) for batch in _overlapping_batches(40)]
        rebuild = partial(state.rebuild_from, job, 40, ledger[:60])
        truth = expected_stages(40, ledger)
        for answer in self.at_once([*accounts, rebuild, *accounts, rebuild]):
            assert _within(answer, truth)
        assert _within(known(state.snapshot(job)), truth)
        assert known(state.account(job, ledger)).stages == truth


def _begin_and_account(state: AsyncJobStateManager, job: JobRef, total: int, ordinal: int) -> None:
    state.initialise(job, total)
    known(state.account(job, marks_of([ordinal])))


def _with_failures(ordinals: Iterable[int]) -> list[Mark]:
    """Every caller has to say the same of a task, so that the sum is the same whoever comes first."""
    return [mark for ordinal in ordinals for mark in marks_of([ordinal], failed=[ordinal] if ordinal % 7 == 0 else [])]


def _overlapping_batches(total: int) -> Iterator[list[Mark]]:
    """Yield batches that hold every task four times between them."""
    for first in range(0, total, 5):
        batch = _with_failures((first + offset) % total for offset in range(10))
        yield batch
        yield batch[::-1]


def _accounted(answer: Snapshot) -> int:
    return sum(stage.accounted for stage in answer.stages)


def _within(answer: Snapshot, truth: tuple[StageProgress, ...]) -> bool:
    pairs = zip(answer.stages, truth, strict=True)
    return all(stage.done <= most.done and stage.failed <= most.failed for stage, most in pairs)
