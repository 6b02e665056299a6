"""What the engines of the task queue differ in: each declares it, and what it declares is held against it.

Whatever is not here every engine does alike.
"""

from datetime import timedelta

from headcount.clock import system_clock
from headcount.testing.clock import FrozenClock
from headcount.testing.contracts.asked_over import asks_the_database
from headcount.testing.contracts.queue_holder import BRIEF, JOB, LONG, Holder, MakeQueue, ordinals
from headcount.testing.waiting import wait_until


class TaskQueueCapabilities:
    """The part of the contract that asks an engine to be what it says it is; ``in_database`` of the port with it.

    Attributes:
        ends_leases_by_itself: whether a lease ends on the engine's own clock; where it does not, ``reclaim_expired``
            ends it by the caller's, which every claim calls now and then.
        outlives_its_process: whether another process finds what is in the queue.
        remembers_publications: whether a task that was put in and acknowledged a moment ago is put in again only under
            another ``generation``, which is why the health check's republication names one.
        tells_released_from_held: whether ``depth`` counts a task that was given back as pending at once; where it does
            not, it counts as in flight until it is handed out again.
        dates_what_it_holds: whether ``held_runs`` tells since when; where it does not, what nobody knows is reported
            and not deleted.
        tells_other_processes: whether claims that wait in another process hear of what is put in by this one; where
            they do not, they find it with their next look.
    """

    ends_leases_by_itself = False
    outlives_its_process = True
    remembers_publications = False
    tells_released_from_held = True
    dates_what_it_holds = False
    tells_other_processes = False

    def test_it_is_asked_over_the_callers_connection_as_declared(self, holder: Holder) -> None:
        asked = [lambda: holder.queue.depths([JOB]), lambda: holder.queue.publish(JOB, [0]), lambda: holder.claim(1)]
        assert [asks_the_database(ask) for ask in asked] == [holder.queue.in_database] * 3

    def test_leases_end_by_themselves_as_declared(self, brief_holder: Holder, clock: FrozenClock) -> None:
        brief_holder.queue.publish(JOB, range(3))
        brief_holder.claim_all(3)
        assert brief_holder.claim() == []
        clock.advance(2 * BRIEF)
        if not self.ends_leases_by_itself:
            assert brief_holder.claim() == []
        assert brief_holder.queue.reclaim_expired(clock()) == (0 if self.ends_leases_by_itself else 3)
        assert ordinals(brief_holder.claim_all(3)) == [0, 1, 2]

    def test_another_process_finds_what_is_there_as_declared(self, make_queue: MakeQueue, clock: FrozenClock) -> None:
        make_queue(LONG).publish(JOB, range(2))
        another = Holder(make_queue(LONG), clock, LONG)
        assert ordinals(another.claim()) == ([0, 1] if self.outlives_its_process else [])

    def test_a_publication_is_remembered_as_declared(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(2))
        holder.queue.acknowledge(JOB, holder.claim_all(2))
        holder.queue.publish(JOB, range(2))
        assert ordinals(holder.claim()) == ([] if self.remembers_publications else [0, 1])

    def test_what_is_released_is_told_from_what_is_held_as_declared(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(3))
        holder.queue.release(JOB, holder.claim_all(3)[:2])
        depth = holder.queue.depth(JOB)
        assert depth is not None
        assert (depth.pending, depth.in_flight) == ((2, 1) if self.tells_released_from_held else (0, 3))

    def test_what_is_held_is_dated_as_declared(self, holder: Holder) -> None:
        holder.queue.publish(JOB, [0])
        [held] = holder.queue.held_runs().runs
        assert (held.since is not None) is self.dates_what_it_holds
        assert held.since is None or abs(system_clock() - held.since) < timedelta(minutes=1)

    def test_another_process_hears_of_tasks_as_declared(self, make_queue: MakeQueue, clock: FrozenClock) -> None:
        another, mine = make_queue(LONG), make_queue(LONG)
        Holder(another, clock, LONG).claim()
        news = another.listen()
        heard = news.count
        mine.publish(JOB, range(2))
        if self.tells_other_processes:
            wait_until(lambda: news.count > heard, "the other process hears of it")
        assert (news.count > heard) is self.tells_other_processes
