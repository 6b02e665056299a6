"""What the engines of the state manager differ in: each declares it, and what it declares is held against it.

Whatever is not here every engine does alike.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from headcount.clock import system_clock
from headcount.ports.state_manager import AsyncJobStateManager, Mark, Snapshot
from headcount.testing.contracts.asked_over import asks_the_database
from headcount.testing.contracts.state_marks import expected_stages, known, marks_of, new_job


class StateManagerCapabilities:
    """The part of the contract that asks an engine to be what it says it is; ``in_database`` of the port with it.

    Attributes:
        outlives_its_process: whether another process finds what is accounted.
        keeps_what_is_accounted_during_a_rebuild: whether a mark that comes while ``rebuild_from`` reads the ledger
            stays counted; where it does not, the run under-reports until it is rebuilt again.
        dates_what_it_holds: whether ``held_runs`` tells since when; where it does not, what nobody knows is reported
            and not deleted.
    """

    outlives_its_process = True
    keeps_what_is_accounted_during_a_rebuild = True
    dates_what_it_holds = False

    @pytest.fixture
    def another(self) -> AsyncJobStateManager:
        """The engine under test as another process has it."""
        raise NotImplementedError("give the contract a state manager of another process")

    def test_it_is_asked_over_the_callers_connection_as_declared(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        asked = [lambda: state.initialise(job, 1), lambda: state.snapshots([job]), lambda: state.account(job, [])]
        assert [asks_the_database(ask) for ask in asked] == [state.in_database] * 3

    def test_another_process_finds_what_is_accounted_as_declared(
        self, state: AsyncJobStateManager, another: AsyncJobStateManager
    ) -> None:
        job = new_job()
        state.initialise(job, 2)
        state.account(job, marks_of([1]))
        assert (another.snapshot(job) == state.snapshot(job)) is self.outlives_its_process
        assert isinstance(another.snapshot(job), Snapshot) is self.outlives_its_process

    def test_what_is_accounted_during_a_rebuild_is_kept_as_declared(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 3)

        def ledger() -> Iterator[Mark]:
            yield from marks_of([0])
            state.account(job, marks_of([2]))

        kept = [0, 2] if self.keeps_what_is_accounted_during_a_rebuild else [0]
        assert state.rebuild_from(job, 3, ledger()).stages == expected_stages(3, marks_of(kept))
        assert known(state.account(job, marks_of(range(3)))).all_tasks_processed

    def test_what_is_held_is_dated_as_declared(self, state: AsyncJobStateManager) -> None:
        job = new_job()
        state.initialise(job, 1)
        [since] = [held.since for held in state.held_runs().runs if held.job == job]
        assert (since is not None) is self.dates_what_it_holds
        assert since is None or abs(system_clock() - since) < timedelta(minutes=1)
