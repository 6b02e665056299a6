"""The engines in memory keep the contracts of the real ones, and break in every way they are asked to."""

from collections.abc import Callable

import pytest

from headcount.domain.records import JobRef
from headcount.domain.states import Stage
from headcount.errors import BadInputError, DispatchInterruptedError, EngineUnavailableError
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Unknown
from headcount.ports.task_queue import QueueDepth, TaskQueue
from headcount.testing.contracts.queue_holder import LONG, MakeQueue
from headcount.testing.contracts.state_manager import StateManagerContract
from headcount.testing.contracts.state_marks import expected_stages, known, marks_of
from headcount.testing.contracts.task_queue import TaskQueueContract
from headcount.testing.factories import EPOCH
from headcount.testing.faults import Fault, ProcessDied
from headcount.testing.memory import MemoryDispatcher, MemoryStateManager, MemoryTaskQueue

JOB = JobRef(7, 1)


class TestMemoryTaskQueue(TaskQueueContract):
    outlives_its_process = False

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        return lambda lease: MemoryTaskQueue()

    @pytest.fixture
    def unreachable(self) -> TaskQueue:
        queue = MemoryTaskQueue()
        queue.faults.down = True
        return queue


class TestMemoryStateManager(StateManagerContract):
    outlives_its_process = False
    keeps_what_is_accounted_during_a_rebuild = False

    @pytest.fixture
    def state(self) -> MemoryStateManager:
        return MemoryStateManager()

    @pytest.fixture
    def another(self) -> MemoryStateManager:
        return MemoryStateManager()


class TestWhatAQueueLoses:
    @pytest.fixture
    def queue(self) -> MemoryTaskQueue:
        queue = MemoryTaskQueue()
        queue.publish(JOB, [0, 1, 2])
        return queue

    def test_everything(self, queue: MemoryTaskQueue) -> None:
        queue.lose_everything()
        assert queue.depth(JOB) is None
        assert queue.runs() == frozenset()

    def test_single_messages(self, queue: MemoryTaskQueue) -> None:
        queue.drop(JOB, [1, 9])
        assert [delivery.ordinal for delivery in claim(queue)] == [0, 2]

    def test_a_lease(self, queue: MemoryTaskQueue) -> None:
        first = claim(queue)
        queue.redeliver(JOB, [1])
        assert claim(queue) == [first[1]]
        assert queue.depth(JOB) == QueueDepth(0, 3, 1)

    def test_an_acknowledgement_of_what_was_published_before_the_loss(self, queue: MemoryTaskQueue) -> None:
        before = claim(queue)
        queue.lose_everything()
        queue.publish(JOB, [0])
        queue.acknowledge(JOB, before)
        assert queue.depth(JOB) == QueueDepth(1, 0, 0)


class TestWhatAStateManagerLoses:
    @pytest.fixture
    def state(self) -> MemoryStateManager:
        state = MemoryStateManager()
        state.initialise(JOB, 2)
        state.account(JOB, marks_of([0, 1]))
        return state

    def test_everything(self, state: MemoryStateManager) -> None:
        assert state.all_tasks_processed(JOB) is True
        state.lose_everything()
        assert state.all_tasks_processed(JOB) is None

    def test_one_stage(self, state: MemoryStateManager) -> None:
        state.lose_stage(JOB, Stage.RESULTS)
        assert state.all_tasks_processed(JOB) is False
        assert [stage.done for stage in known(state.snapshot(JOB)).stages] == [2, 0]

    def test_its_tongue(self, state: MemoryStateManager) -> None:
        state.faults.down = True
        assert isinstance(state.snapshot(JOB), Unknown)
        assert state.all_tasks_processed(JOB) is None
        for call in (lambda: state.account(JOB, []), lambda: state.rebuild_from(JOB, 2, [])):
            with pytest.raises(EngineUnavailableError):
                call()
        state.faults.clear()
        assert known(state.snapshot(JOB)).stages == expected_stages(2, marks_of([0, 1]))


class TestHowACallGoesWrong:
    @pytest.mark.parametrize(
        ("fault", "error", "done"),
        [
            (Fault.UNAVAILABLE, EngineUnavailableError, False),
            (Fault.ANSWER_LOST, EngineUnavailableError, True),
            (Fault.DIED_BEFORE, ProcessDied, False),
            (Fault.DIED_AFTER, ProcessDied, True),
        ],
    )
    def test_it_is_done_or_not_and_raises(self, fault: Fault, error: type[BaseException], done: bool) -> None:
        queue = MemoryTaskQueue()
        queue.faults.plan("publish", fault)
        with pytest.raises(error):
            queue.publish(JOB, [0])
        assert (queue.depth(JOB) is not None) == done
        queue.publish(JOB, [0])
        assert queue.depth(JOB) == QueueDepth(1, 0, 0)

    def test_no_handler_of_errors_keeps_a_process_from_dying(self) -> None:
        assert not issubclass(ProcessDied, Exception)

    def test_a_fault_happens_as_often_as_planned_and_to_one_method(self) -> None:
        state = MemoryStateManager()
        state.faults.plan("rebuild_from", Fault.UNAVAILABLE, times=2)
        state.initialise(JOB, 1)
        for _ in range(2):
            with pytest.raises(EngineUnavailableError):
                state.rebuild_from(JOB, 1, [])
        assert state.rebuild_from(JOB, 1, marks_of([0])).all_tasks_processed

    def test_others_can_act_just_before_a_call(self) -> None:
        queue = MemoryTaskQueue()
        queue.publish(JOB, [0, 1])
        calls: list[str] = []

        def lose(method: str) -> None:
            calls.append(method)
            queue.faults.watcher = None
            queue.lose_everything()

        queue.faults.watcher = lose
        assert claim(queue) == []
        assert calls == ["claim"]


class TestMemoryDispatcher:
    @pytest.fixture
    def dispatcher(self) -> MemoryDispatcher:
        dispatcher = MemoryDispatcher(max_attempts=3)
        dispatcher.enqueue(JOB)
        return dispatcher

    @pytest.fixture
    def abandoned(self) -> list[tuple[JobRef, str]]:
        return []

    def test_a_run_is_run_once(self, dispatcher: MemoryDispatcher) -> None:
        ran: list[JobRef] = []
        dispatcher.enqueue(JOB)
        assert dispatcher.run_next(ran.append, never) == JOB
        dispatcher.enqueue(JOB)
        assert dispatcher.run_next(ran.append, never) is None
        assert ran == [JOB]
        assert dispatcher.testimony(JOB) == DispatchTestimony("SUCCESS", 1)

    def test_many_are_testified_for_at_once(self, dispatcher: MemoryDispatcher) -> None:
        unknown = JobRef(8, 1)
        assert dispatcher.testimonies([unknown, JOB]) == {unknown: None, JOB: DispatchTestimony("PENDING", 0)}
        assert dispatcher.testimonies([]) == {}

    def test_runs_are_taken_up_in_order(self, dispatcher: MemoryDispatcher) -> None:
        dispatcher.enqueue(JobRef(1, 1))
        assert [dispatcher.run_next(lambda job: None, never) for _ in range(3)] == [JOB, JobRef(1, 1), None]

    def test_a_finished_run_can_be_resumed_and_a_due_one_is_left_alone(self, dispatcher: MemoryDispatcher) -> None:
        dispatcher.run_next(raising(EngineUnavailableError("later")), never)
        dispatcher.resume(JOB)
        assert dispatcher.testimony(JOB) == DispatchTestimony("PENDING", 1, "later")
        dispatcher.run_next(lambda job: None, never)
        dispatcher.resume(JOB)
        assert dispatcher.testimony(JOB) == DispatchTestimony("PENDING", 0)

    def test_a_run_it_lost_is_resumed_from_nothing(self, dispatcher: MemoryDispatcher) -> None:
        dispatcher.lose_everything()
        assert dispatcher.testimony(JOB) is None
        dispatcher.resume(JOB)
        assert dispatcher.testimony(JOB) == DispatchTestimony("PENDING", 0)

    def test_an_interruption_is_no_attempt(self, dispatcher: MemoryDispatcher) -> None:
        dispatcher.run_next(raising(DispatchInterruptedError("stopping")), never)
        assert dispatcher.testimony(JOB) == DispatchTestimony("PENDING", 0)

    def test_a_run_that_fails_too_often_is_abandoned(
        self, dispatcher: MemoryDispatcher, abandoned: list[tuple[JobRef, str]]
    ) -> None:
        for _ in range(3):
            assert abandoned == []
            dispatcher.run_next(raising(EngineUnavailableError("down")), lambda *call: abandoned.append(call))
        assert abandoned == [(JOB, "down")]
        assert dispatcher.testimony(JOB) == DispatchTestimony("FAILURE", 3, "down")

    def test_a_run_that_fails_for_good_is_abandoned_at_once(
        self, dispatcher: MemoryDispatcher, abandoned: list[tuple[JobRef, str]]
    ) -> None:
        dispatcher.run_next(raising(BadInputError("wrong")), lambda *call: abandoned.append(call))
        assert abandoned == [(JOB, "wrong")]

    def test_a_run_whose_process_died_is_taken_up_when_its_holder_is_forgotten(
        self, dispatcher: MemoryDispatcher
    ) -> None:
        with pytest.raises(ProcessDied):
            dispatcher.run_next(raising(ProcessDied()), never)
        assert dispatcher.testimony(JOB) == DispatchTestimony("STARTED", 1)
        assert dispatcher.run_next(lambda job: None, never) is None
        dispatcher.forget_holders()
        assert dispatcher.run_next(lambda job: None, never) == JOB
        assert dispatcher.testimony(JOB) == DispatchTestimony("SUCCESS", 2)


def claim(queue: MemoryTaskQueue):
    return queue.claim(JOB, 10, lease=LONG, now=EPOCH)


def raising(error: BaseException) -> Callable[[JobRef], None]:
    def run(job: JobRef) -> None:
        raise error

    return run


def never(job: JobRef, reason: str) -> None:
    raise AssertionError(f"{job} was abandoned: {reason}")
