"""What every dispatcher does, whichever engine is behind it: subclass ``DispatcherContract`` and give it a harness."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Protocol

import pytest

from headcount.domain.records import JobRef
from headcount.ports.dispatcher import Dispatcher, DispatchTestimony
from headcount.testing.contracts.asked_over import asks_the_database
from headcount.testing.contracts.dispatcher_script import Behaviour, ScriptedWork
from headcount.testing.waiting import wait_until

ATTEMPTS = 3
"""How often the harness lets a run be begun before it is abandoned."""

_IDS = count(1)


class DispatcherHarness(Protocol):
    """A dispatcher under test, the work it runs, and the process that runs it.

    Runs are abandoned after ``ATTEMPTS`` attempts; the lease should be about a second, or crashes take long to show.
    """

    dispatcher: Dispatcher
    work: ScriptedWork

    def start_worker(self) -> None:
        """Start the process that takes up runs."""

    def stop_worker(self) -> None:
        """Ask it to end in good order and return when it has."""

    def kill_worker(self) -> None:
        """End it and whatever it started with SIGKILL."""


class DispatcherContract:
    """The contract: at least once, one at a time, again after a crash, and never silent about it.

    Attributes:
        hands_on_what_a_killed_worker_held: whether that comes by itself; where it does not, ``resume`` brings it, which
            the health check calls.
    """

    hands_on_what_a_killed_worker_held = True

    def test_knows_nothing_of_a_run_it_was_not_given(self, harness: DispatcherHarness) -> None:
        assert harness.dispatcher.testimony(_job()) is None

    def test_it_is_asked_over_the_callers_connection_as_declared(self, harness: DispatcherHarness) -> None:
        asked = asks_the_database(lambda: harness.dispatcher.testimonies([_job()]))
        assert asked is harness.dispatcher.in_database

    def test_testimonies_say_of_many_runs_what_testimony_says_of_each(self, harness: DispatcherHarness) -> None:
        known = [_job(), _job()]
        known.append(JobRef(known[0].job_id, 2))
        for job in known:
            harness.dispatcher.enqueue(job)
        asked = [_job(), *known, JobRef(known[1].job_id, 2), known[0]]
        answers = harness.dispatcher.testimonies(asked)
        assert answers == {job: harness.dispatcher.testimony(job) for job in asked}
        assert [job for job, answer in answers.items() if answer == DispatchTestimony("PENDING", 0)] == known

    def test_testimonies_of_none_and_of_a_thousand_runs(self, harness: DispatcherHarness) -> None:
        assert harness.dispatcher.testimonies([]) == {}
        asked = [_job() for _ in range(1000)]
        assert harness.dispatcher.testimonies(asked) == dict.fromkeys(asked)

    def test_its_broker_answers_where_it_has_one(self, harness: DispatcherHarness) -> None:
        assert (harness.dispatcher.broker is None) == harness.dispatcher.name.startswith("database")
        harness.dispatcher.reach_broker()

    def test_a_run_that_waits_is_pending(self, harness: DispatcherHarness) -> None:
        job = _job()
        harness.dispatcher.enqueue(job)
        assert harness.dispatcher.testimony(job) == DispatchTestimony("PENDING", 0)

    def test_a_run_is_done_and_said_to_be(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.SUCCEED)
        harness.dispatcher.enqueue(job)
        harness.start_worker()
        _wait_for(harness, job, "SUCCESS")
        assert harness.dispatcher.testimony(job) == DispatchTestimony("SUCCESS", 1)

    def test_enqueued_twice_it_runs_once(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.SUCCEED)
        harness.dispatcher.enqueue(job)
        harness.dispatcher.enqueue(job)
        harness.start_worker()
        _wait_for(harness, job, "SUCCESS")
        harness.dispatcher.enqueue(job)
        _let_everything_pass(harness)
        assert harness.work.begun(job) == 1

    def test_enqueued_by_many_at_once_it_never_runs_twice_at_once(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.WAIT)
        harness.start_worker()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: harness.dispatcher.enqueue(job), range(16)))
        wait_until(lambda: harness.work.begun(job) > 0, "the run is begun")
        _let_everything_pass(harness)
        assert harness.work.begun(job) - harness.work.ended(job) == 1
        harness.work.release(job)
        _wait_for(harness, job, "SUCCESS")
        assert harness.work.begun(job) == 1

    def test_what_fails_for_now_is_tried_again(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.FAIL_FOR_NOW, Behaviour.SUCCEED)
        harness.dispatcher.enqueue(job)
        harness.start_worker()
        _wait_for(harness, job, "SUCCESS")
        assert harness.work.begun(job) == 2
        assert not harness.work.abandoned(job)

    def test_what_fails_for_good_is_abandoned_at_once(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.FAIL_FOR_GOOD)
        harness.dispatcher.enqueue(job)
        harness.start_worker()
        _wait_for(harness, job, "FAILURE")
        assert harness.dispatcher.testimony(job) == DispatchTestimony("FAILURE", 1, "not ever")
        assert harness.work.abandoned(job) == ["not ever"]

    def test_what_fails_too_often_is_abandoned(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.FAIL_FOR_NOW)
        harness.dispatcher.enqueue(job)
        harness.start_worker()
        _wait_for(harness, job, "FAILURE")
        assert harness.work.begun(job) == ATTEMPTS
        assert harness.work.abandoned(job) == ["not now"]

    def test_a_failed_run_is_resumed(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.FAIL_FOR_GOOD, Behaviour.SUCCEED)
        harness.dispatcher.enqueue(job)
        harness.start_worker()
        _wait_for(harness, job, "FAILURE")
        assert harness.dispatcher.resume(job)
        _wait_for(harness, job, "SUCCESS")
        assert harness.work.begun(job) == 2

    def test_a_run_it_never_saw_is_resumed_from_nothing(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.SUCCEED)
        assert harness.dispatcher.resume(job)
        assert not harness.dispatcher.resume(job)
        harness.start_worker()
        _wait_for(harness, job, "SUCCESS")

    def test_why_a_run_is_resumed_is_noted_once_where_it_is(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.SUCCEED)
        noted: list[JobRef] = []
        for _ in range(2):
            harness.dispatcher.resume(job, lambda: noted.append(job))
        assert noted == [job]

    def test_a_run_is_not_resumed_where_that_cannot_be_noted(self, harness: DispatcherHarness) -> None:
        def cannot_be_written() -> None:
            raise ZeroDivisionError

        job = _scripted(harness, Behaviour.SUCCEED)
        with pytest.raises(ZeroDivisionError):
            harness.dispatcher.resume(job, cannot_be_written)
        assert harness.dispatcher.testimony(job) is None

    def test_a_run_that_is_alive_is_left_alone(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.WAIT)
        harness.dispatcher.enqueue(job)
        harness.start_worker()
        wait_until(lambda: harness.work.begun(job) > 0, "the run is begun")
        assert not harness.dispatcher.resume(job)
        _let_everything_pass(harness)
        harness.work.release(job)
        _wait_for(harness, job, "SUCCESS")
        assert harness.work.begun(job) == 1

    def test_a_run_whose_worker_is_killed_is_begun_again(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.WAIT, Behaviour.SUCCEED)
        harness.dispatcher.enqueue(job)
        harness.start_worker()
        wait_until(lambda: harness.work.begun(job) > 0, "the run is begun")
        harness.kill_worker()
        assert harness.dispatcher.testimony(job) == DispatchTestimony("STARTED", 1)
        harness.start_worker()
        if not self.hands_on_what_a_killed_worker_held:
            wait_until(lambda: harness.dispatcher.resume(job), "its lease has ended")
        _wait_for(harness, job, "SUCCESS")
        assert harness.dispatcher.testimony(job) == DispatchTestimony("SUCCESS", 2)
        assert harness.work.ended(job) == 1

    def test_a_worker_that_is_stopped_hands_its_run_on(self, harness: DispatcherHarness) -> None:
        job = _scripted(harness, Behaviour.WAIT, Behaviour.SUCCEED)
        harness.dispatcher.enqueue(job)
        harness.start_worker()
        wait_until(lambda: harness.work.begun(job) > 0, "the run is begun")
        harness.stop_worker()
        assert harness.work.ended(job) == 1
        assert harness.dispatcher.testimony(job) == DispatchTestimony("PENDING", 0)
        harness.start_worker()
        _wait_for(harness, job, "SUCCESS")
        assert harness.work.begun(job) == 2


def _job() -> JobRef:
    return JobRef(next(_IDS), 1)


def _scripted(harness: DispatcherHarness, *behaviours: Behaviour) -> JobRef:
    job = _job()
    harness.work.write(job, *behaviours)
    return job


def _wait_for(harness: DispatcherHarness, job: JobRef, state: str) -> None:
    def is_there() -> bool:
        testimony = harness.dispatcher.testimony(job)
        return testimony is not None and testimony.state == state

    wait_until(is_there, f"the dispatcher says {state} of {job}")


def _let_everything_pass(harness: DispatcherHarness) -> None:
    """Have more runs done than there are places to do them, so that what was queued before has had its turn."""
    for job in _several(harness):
        _wait_for(harness, job, "SUCCESS")


def _several(harness: DispatcherHarness) -> Iterator[JobRef]:
    jobs = [_scripted(harness, Behaviour.SUCCEED) for _ in range(6)]
    for job in jobs:
        harness.dispatcher.enqueue(job)
    yield from jobs
