"""The contract of the task queue."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from headcount.domain.records import JobRef
from headcount.errors import EngineUnavailableError
from headcount.ports.task_queue import Delivery, QueueDepth, TaskQueue
from headcount.testing.clock import FrozenClock
from headcount.testing.contracts.queue_holder import BRIEF, JOB, LONG, OPERATIONS, Holder, MakeQueue, ordinals
from headcount.testing.contracts.task_queue_capabilities import TaskQueueCapabilities
from headcount.testing.waiting import PATIENCE_SECONDS, wait_until

_THREADS = 8
_EMPTY = QueueDepth(0, 0, 0)


class TaskQueueContract(TaskQueueCapabilities):
    """Subclass as ``TestMyQueue`` with a fixture ``make_queue``; a fixture ``clock`` gives a ``FrozenClock``.

    Declare what the engine is capable of (``TaskQueueCapabilities``). Override ``leave_thread`` where a thread holds
    resources, and the fixture ``unreachable`` where the engine is somewhere else.
    """

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        """Return what makes a queue with a lease term; every test gets an empty one."""
        raise NotImplementedError

    @pytest.fixture
    def unreachable(self) -> TaskQueue:
        """Return a queue whose engine does not answer."""
        pytest.skip("this engine lives in the process that uses it")

    def pass_time(self, queue: TaskQueue, clock: FrozenClock, span: timedelta) -> None:
        """Let time pass for the engine; nothing to do where it goes by the real one."""
        if not self.ends_leases_by_itself:
            clock.advance(span)
            queue.reclaim_expired(clock())

    def leave_thread(self) -> None:
        """Give back what the calling thread holds, at its end."""

    @pytest.fixture
    def holder(self, make_queue: MakeQueue, clock: FrozenClock) -> Holder:
        """A holder whose leases outlast the test."""
        return Holder(make_queue(LONG), clock, LONG)

    @pytest.fixture
    def brief_holder(self, make_queue: MakeQueue, clock: FrozenClock) -> Holder:
        """A holder whose leases end soon."""
        return Holder(make_queue(BRIEF), clock, BRIEF)

    def test_claims_hand_out_exactly_what_was_published(self, holder: Holder) -> None:
        published = [3, 0, 2**31 - 1, 1_000_000, 17]
        holder.queue.publish(JOB, published)
        assert ordinals(holder.claim_all(5)) == sorted(published)
        assert holder.claim() == []

    def test_a_repeated_publication_puts_nothing_in_twice(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(5))
        holder.queue.publish(JOB, range(8))
        assert ordinals(holder.claim_all(8)) == list(range(8))
        assert holder.claim() == []

    def test_a_task_under_a_lease_is_not_put_in_again(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(3))
        holder.claim_all(3)
        holder.queue.publish(JOB, range(3))
        assert holder.claim() == []

    def test_a_long_publication_arrives_whole(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(4500))
        assert holder.queue.depth(JOB) == QueueDepth(4500, 0, 0)

    def test_a_claim_takes_no_more_than_its_limit(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(10))
        assert len(holder.claim(4)) == 4
        assert holder.claim(0) == []
        assert len(holder.claim(1)) == 1
        assert len(holder.claim_all(5)) == 5

    def test_concurrent_claims_share_the_tasks_out(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(500))
        begin = Barrier(_THREADS)
        taken: list[Delivery] = []

        def work(limit: int) -> None:
            def all_are_out() -> bool:
                taken.extend(holder.claim(limit))
                return len(taken) >= 500

            begin.wait(PATIENCE_SECONDS)
            try:
                wait_until(all_are_out, "500 tasks are handed out")
            finally:
                self.leave_thread()

        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(work, range(1, _THREADS + 1)))
        assert Counter(ordinals(taken)) == Counter(range(500))
        assert holder.claim() == []

    def test_what_is_acknowledged_never_comes_back(self, brief_holder: Holder, clock: FrozenClock) -> None:
        brief_holder.queue.publish(JOB, range(4))
        done = [delivery for delivery in brief_holder.claim_all(4) if delivery.ordinal != 2]
        brief_holder.queue.acknowledge(JOB, done)
        assert self._what_comes_back(brief_holder, clock, number=1) == [2]

    def test_an_extended_lease_stays(self, brief_holder: Holder, clock: FrozenClock) -> None:
        brief_holder.queue.publish(JOB, range(2))
        kept, _ = sorted(brief_holder.claim_all(2), key=lambda delivery: delivery.ordinal)
        returned: list[Delivery] = []

        def one_returned() -> bool:
            self.pass_time(brief_holder.queue, clock, BRIEF / 2)
            brief_holder.extend([kept])
            returned.extend(brief_holder.claim())
            return bool(returned)

        wait_until(one_returned, "the lease that was not extended has ended")
        assert ordinals(returned) == [1]

    def test_what_is_released_is_ready_at_once(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(6))
        released = holder.claim_all(6)[:4]
        holder.queue.release(JOB, released)
        assert ordinals(holder.claim_all(4)) == ordinals(released)
        assert holder.claim() == []

    def test_a_repeated_acknowledgement_changes_nothing(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(4))
        first, second = holder.claim(2), holder.claim(2)
        for _ in range(3):
            holder.queue.acknowledge(JOB, first)
        holder.queue.release(JOB, second)
        assert ordinals(holder.claim_all(2)) == ordinals(second)

    def test_a_late_acknowledgement_removes_the_task(self, brief_holder: Holder, clock: FrozenClock) -> None:
        brief_holder.queue.publish(JOB, [0])
        late = brief_holder.claim_all(1)
        assert self._what_comes_back(brief_holder, clock, number=1) == [0]
        brief_holder.queue.acknowledge(JOB, late)
        depth = brief_holder.queue.depth(JOB)
        assert depth is not None
        assert depth.pending + depth.in_flight == 0

    def test_depth_counts_what_waits_and_what_is_held(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(10))
        assert holder.queue.depth(JOB) == QueueDepth(10, 0, 0)
        held = holder.claim(4)
        assert holder.queue.depth(JOB) == QueueDepth(6, 4, 0)
        holder.queue.acknowledge(JOB, held[:1])
        assert holder.queue.depth(JOB) == QueueDepth(6, 3, 0)

    def test_depth_tells_of_redelivery(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(3))
        holder.queue.release(JOB, holder.claim_all(3)[:2])
        holder.claim_all(2)
        assert holder.queue.depth(JOB) == QueueDepth(0, 3, 2)

    def test_a_run_nobody_published_has_nothing(self, holder: Holder) -> None:
        assert holder.claim() == []
        assert holder.queue.depth(JOB) in (None, _EMPTY)
        holder.queue.publish(JobRef(8, 1), [0])
        assert holder.claim() == []
        assert holder.queue.depth(JOB) in (None, _EMPTY)

    def test_depths_says_of_many_runs_what_depth_says_of_each(self, holder: Holder) -> None:
        jobs = [JobRef(7, 1), JobRef(7, 2), JobRef(71, 1), JobRef(1, 7)]
        for number, job in enumerate(jobs):
            holder.queue.publish(job, range(number + 2))
            held = holder.claim_all(2, job)
            holder.queue.acknowledge(job, held[:1])
        holder.queue.release(jobs[3], held[1:])
        holder.claim_all(4, jobs[3])
        unknown = [JobRef(7, 3), JobRef(99, 1)]
        asked = [*unknown, *jobs, jobs[0]]
        assert holder.queue.depths(asked) == {job: holder.queue.depth(job) for job in asked}
        assert holder.queue.depths(jobs[3:]) == {jobs[3]: QueueDepth(0, 4, 1)}

    def test_depths_of_no_run_are_none(self, holder: Holder) -> None:
        assert holder.queue.depths([]) == {}

    def test_depths_of_a_thousand_runs_are_told_at_once(self, holder: Holder) -> None:
        published = [JobRef(number, 1) for number in range(1, 1001, 50)]
        for job in published:
            holder.queue.publish(job, range(3))
        asked = [JobRef(number, 1) for number in range(1, 1001)]
        depths = holder.queue.depths(asked)
        assert list(depths) == asked
        assert [job for job, depth in depths.items() if depth == QueueDepth(3, 0, 0)] == published
        assert all(depths[job] in (None, _EMPTY) for job in set(asked) - set(published))

    def test_what_is_held_is_listed_run_by_run(self, holder: Holder) -> None:
        assert holder.queue.held_runs().runs == ()
        jobs = [JobRef(1, 7), JobRef(7, 1), JobRef(7, 2)]
        for job in reversed(jobs):
            holder.queue.publish(job, range(3))
        holder.claim(job=jobs[1])
        holdings = holder.queue.held_runs()
        assert [held.job for held in holdings.runs] == jobs
        assert holdings.unreadable == ()
        holder.queue.remove(jobs[1])
        assert [held.job for held in holder.queue.held_runs().runs] == [jobs[0], jobs[2]]

    def test_jobs_and_runs_do_not_mix(self, holder: Holder) -> None:
        places = [JobRef(7, 1), JobRef(7, 2), JobRef(71, 1), JobRef(1, 7)]
        for number, job in enumerate(places):
            holder.queue.publish(job, [number, 100])
        for number, job in enumerate(places):
            mine = holder.claim_all(2, job)
            assert ordinals(mine) == [number, 100]
            holder.queue.acknowledge(job, mine)
        assert all(holder.claim(job=job) == [] for job in places)

    def test_remove_forgets_one_run_and_no_other(self, holder: Holder) -> None:
        other = JobRef(7, 2)
        holder.queue.publish(JOB, range(5))
        holder.queue.publish(other, range(5))
        held = holder.claim(2)
        for _ in range(2):
            holder.queue.remove(JOB)
            assert holder.queue.depth(JOB) in (None, _EMPTY)
            assert holder.claim() == []
        holder.queue.acknowledge(JOB, held)
        assert holder.queue.depth(other) == QueueDepth(5, 0, 0)

    def test_a_removed_run_can_be_published_again(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(3))
        holder.claim(1)
        holder.queue.remove(JOB)
        holder.queue.publish(JOB, range(3), generation=1)
        assert ordinals(holder.claim_all(3)) == [0, 1, 2]

    def test_a_lost_task_can_be_published_again(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(3))
        holder.queue.acknowledge(JOB, holder.claim_all(3))
        holder.queue.publish(JOB, [1], generation=1)
        assert ordinals(holder.claim_all(1)) == [1]
        assert holder.claim() == []

    def test_nothing_to_do_is_no_error(self, holder: Holder) -> None:
        holder.queue.publish(JOB, [])
        holder.queue.acknowledge(JOB, [])
        holder.queue.release(JOB, [])
        holder.extend([])
        assert holder.claim() == []

    def test_settling_what_is_gone_is_no_error(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(3))
        gone = holder.claim_all(3)
        holder.queue.acknowledge(JOB, gone)
        holder.queue.release(JOB, gone)
        holder.extend(gone)
        assert holder.claim() == []

    def test_tasks_put_in_and_tasks_given_back_are_news(self, holder: Holder) -> None:
        holder.claim()
        news = holder.queue.listen()
        heard = news.count
        holder.queue.publish(JOB, range(2))
        wait_until(lambda: news.count > heard, "the publication is heard of")
        held, heard_then = holder.claim_all(2), news.count
        holder.queue.release(JOB, held)
        wait_until(lambda: news.count > heard_then, "the release is heard of")
        assert heard < heard_then < news.count

    def test_reclaiming_with_no_lease_ended_reclaims_nothing(self, holder: Holder, clock: FrozenClock) -> None:
        holder.queue.publish(JOB, range(2))
        holder.claim(1)
        assert holder.queue.reclaim_expired(clock()) == 0
        assert holder.queue.depth(JOB) == QueueDepth(1, 1, 0)

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_an_engine_that_does_not_answer_is_named_so(
        self, unreachable: TaskQueue, clock: FrozenClock, operation: Callable[[Holder], object]
    ) -> None:
        with pytest.raises(EngineUnavailableError):
            operation(Holder(unreachable, clock, LONG))

    def test_news_are_listened_for_even_where_the_engine_does_not_answer(self, unreachable: TaskQueue) -> None:
        news = unreachable.listen()
        news.wait(news.count, seconds=0)
        assert news.count == 0, "nothing is heard"

    def _what_comes_back(self, holder: Holder, clock: FrozenClock, number: int) -> list[int]:
        """Let leases end until ``number`` tasks were handed out again, and return which."""
        returned: list[Delivery] = []

        def enough() -> bool:
            self.pass_time(holder.queue, clock, BRIEF)
            returned.extend(holder.claim())
            return len(returned) >= number

        wait_until(enough, f"{number} leases have ended")
        return ordinals(returned)
