"""Observing: every witness is heard, none holds up or falsifies another, and many jobs cost what few cost."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from headcount.domain.records import JobRef, StageProgress, TaskCounts
from headcount.domain.states import STATE_MANAGER_STAGES, JobState, Stage
from headcount.errors import EngineUnavailableError, NotFoundError
from headcount.health import hearing, treat
from headcount.health.hearing import Witness, hear
from headcount.health.loop import jobs_health_check
from headcount.health.observation import LedgerTestimony, Patience, WorkersTestimony
from headcount.health.observe import observe, observe_many
from headcount.health.policy import policy_of
from headcount.models import Job, JobPatience, JobStage, Worker
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Silence, Snapshot, Unknown
from headcount.ports.task_queue import QueueDepth
from headcount.store import jobs, progress, registry
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH, PIPELINE, make_job, make_started_job
from headcount.testing.faults import Fault, ProcessDied
from tests.flow.threads import in_thread
from tests.health.observed import ENGINES, clock, memory, running

__all__ = ["clock", "memory"]

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["in the database", "beyond it"])
def any_deployment(request: pytest.FixtureRequest, deployment: Deployment, memory: Deployment) -> Deployment:
    return deployment if request.param == "in the database" else memory


def test_every_witness_is_heard(any_deployment: Deployment):
    job = running(any_deployment)
    registry.worker_seen(job.project_id, "w1", [PIPELINE], EPOCH)
    seen = observe(any_deployment, job.id)
    assert seen.job == job
    assert seen.ledger == LedgerTestimony(
        TaskCounts(waiting=7, leased=1, saved=2), 7, 0, 1, EPOCH + timedelta(seconds=30), EPOCH
    )
    assert seen.state == Snapshot(tuple(StageProgress(stage, 10, 2, 0) for stage in STATE_MANAGER_STAGES))
    assert seen.queue == QueueDepth(7, 1, 0)
    assert seen.dispatcher == DispatchTestimony("PENDING", 0)
    assert seen.workers == WorkersTestimony(1, EPOCH)
    assert seen.progress == progress.of(job.id)
    assert seen.patience == Patience(moved_at=EPOCH)
    assert seen.leftovers == {}


def test_many_are_answered_in_the_order_asked_each_with_its_own(any_deployment: Deployment):
    few, none, many = running(any_deployment, 5), make_job(), running(any_deployment, 20)
    page = [many, none, few]
    seen = observe_many(any_deployment, page)
    assert [observation.job for observation in seen] == page
    assert seen == [observe(any_deployment, job.id) for job in page]
    assert seen[1].ledger == LedgerTestimony(TaskCounts())
    assert isinstance(seen[1].state, Unknown)
    assert seen[1].state.silence is Silence.ABSENT
    assert seen[1].dispatcher is None


def test_nothing_is_asked_for_no_jobs(deployment: Deployment):
    assert observe_many(deployment, [], remember=True) == []


def test_a_job_that_is_not_there_is_named(deployment: Deployment):
    with pytest.raises(NotFoundError):
        observe(deployment, 10**12)


@pytest.mark.parametrize("remember", [True, False])
def test_a_hundred_jobs_cost_the_queries_that_three_cost(deployment: Deployment, remember: bool):
    page = [make_started_job(2) for _ in range(100)]
    queries = []
    for some in (page[:3], page, page):
        with CaptureQueriesContext(connection) as captured:
            observe_many(deployment, some, remember=remember)
        queries.append(len(captured))
    assert queries[0] == queries[1] == queries[2] <= 40


def test_an_engine_in_the_database_is_asked_in_one_statement(
    deployment: Deployment, django_assert_num_queries: Callable[[int], Any]
):
    page = [running(deployment, 5).ref for _ in range(4)] + [JobRef(10**9 + n, 1) for n in range(1000)]
    for ask in (deployment.queue.depths, deployment.state.snapshots, deployment.dispatcher.testimonies):
        with django_assert_num_queries(1):
            assert list(ask(page)) == page
    for list_all in (deployment.queue.held_runs, deployment.state.held_runs):
        with django_assert_num_queries(1):
            assert [held.job for held in list_all().runs] == page[:4]


class TestSilence:
    @pytest.fixture
    def released(self) -> Iterator[Event]:
        """Lets every witness go on that a test made hang, at its end at the latest."""
        event = Event()
        yield event
        event.set()

    @pytest.mark.parametrize("name", ENGINES)
    def test_a_witness_that_hangs_is_unknown_and_the_others_are_heard(
        self, memory: Deployment, released: Event, name: str
    ):
        job = running(memory)
        heard = observe(memory, job.id)
        engine = getattr(memory, name)
        engine.faults.watcher = lambda method: released.wait(60) if method == ENGINES[name] else None
        seen = observe(memory, job.id)
        silent = getattr(seen, name)
        assert isinstance(silent, Unknown)
        assert silent.silence is Silence.UNHEARD
        assert "no answer within 0.3 s" in silent.reason
        for other in {"ledger", "workers", "progress", *ENGINES} - {name}:
            assert getattr(seen, other) == getattr(heard, other)

    @pytest.mark.parametrize("name", ENGINES)
    @pytest.mark.parametrize("error", [OSError("connection refused"), ValueError("cannot be read"), KeyError("x")])
    def test_a_witness_that_raises_is_unknown_and_the_others_are_heard(
        self, memory: Deployment, name: str, error: Exception
    ):
        job = running(memory)
        heard = observe(memory, job.id)

        def break_down(method: str) -> None:
            raise error

        getattr(memory, name).faults.watcher = break_down
        seen = observe(memory, job.id)
        silent = getattr(seen, name)
        assert isinstance(silent, Unknown)
        assert str(error) in silent.reason
        for other in {"ledger", "workers", "progress", *ENGINES} - {name}:
            assert getattr(seen, other) == getattr(heard, other)

    def test_all_may_be_silent_at_once(self, memory: Deployment):
        job = running(memory)
        for name in ENGINES:
            getattr(memory, name).faults.down = True
        seen = observe(memory, job.id)
        for name in ENGINES:
            silent = getattr(seen, name)
            assert isinstance(silent, Unknown)
            assert "does not answer" in silent.reason
        assert isinstance(seen.ledger, LedgerTestimony)

    def test_a_broker_that_is_away_silences_its_dispatcher_alone_whatever_that_has_noted(self, memory: Deployment):
        job, unknown = running(memory), make_started_job(1)
        heard = observe_many(memory, [job, unknown])
        memory.dispatcher.faults.plan("reach_broker", Fault.UNAVAILABLE)
        seen = observe_many(memory, [job, unknown])
        assert heard[0].dispatcher == DispatchTestimony("PENDING", 0)
        for observation, noted in zip(seen, ["; the dispatch is noted as PENDING", ""], strict=True):
            silent = observation.dispatcher
            assert isinstance(silent, Unknown)
            assert silent.silence is Silence.UNHEARD
            assert silent.reason == (
                f"the broker (memory): dispatcher reach_broker: the engine does not answer and did nothing{noted}"
            )
        assert [replace(item, dispatcher=None) for item in seen] == [replace(item, dispatcher=None) for item in heard]
        assert observe_many(memory, [job, unknown]) == heard, "it is there again"

    def test_a_broker_that_hangs_holds_up_no_other_witness(self, memory: Deployment, released: Event):
        job = running(memory)
        memory.dispatcher.faults.watcher = lambda name: released.wait(60) if name == "reach_broker" else None
        seen = observe(memory, job.id)
        assert isinstance(seen.dispatcher, Unknown)
        assert "the broker (memory): no answer within 0.3 s" in seen.dispatcher.reason
        assert seen.queue == QueueDepth(7, 1, 0)

    @pytest.mark.parametrize("is_away", [False, True])
    def test_the_broker_is_asked_once_for_a_page_of_jobs(self, memory: Deployment, is_away: bool):
        asked: list[str] = []
        memory.dispatcher.faults.watcher = asked.append
        memory.dispatcher.faults.down = is_away
        seen = observe_many(memory, [make_started_job(1) for _ in range(50)])
        assert [isinstance(item.dispatcher, Unknown) for item in seen] == [is_away] * 50
        assert sorted(asked) == ["reach_broker", "testimonies"]

    @pytest.mark.parametrize("is_away", [False, True])
    def test_the_broker_is_asked_once_for_all_pages_of_a_round(
        self, memory: Deployment, monkeypatch: pytest.MonkeyPatch, is_away: bool
    ):
        monkeypatch.setattr(treat, "PAGE", 2)
        running_jobs = [make_started_job(1) for _ in range(5)]
        asked: list[str] = []
        memory.dispatcher.faults.watcher = asked.append
        memory.dispatcher.faults.down = is_away
        treated = list(treat.Round(memory, policy_of(memory.settings), dry_run=True).running())
        assert [item.job_id for item in treated] == [job.id for job in running_jobs]
        assert [isinstance(item.observation.dispatcher, Unknown) for item in treated] == [is_away] * 5
        assert Counter(asked) == {"reach_broker": 1, "testimonies": 3}

    def test_a_process_that_dies_while_it_asks_is_not_kept_alive(self, memory: Deployment):
        job = running(memory)
        memory.queue.faults.plan("depths", Fault.DIED_BEFORE)
        with pytest.raises(ProcessDied):
            observe(memory, job.id)

    def test_who_owes_answers_is_not_asked_for_ever_more(self, released: Event):
        asked = []

        def hang(some: Any) -> Any:
            asked.append(some)
            released.wait(60)
            return {}

        witness = Witness("the one who hangs", hang, in_database=False)
        answers = [hear([witness], [JobRef(7, 1)], timedelta(milliseconds=10))[0][JobRef(7, 1)] for _ in range(6)]
        assert ["no answer within" in answer.reason for answer in answers] == [True] * 4 + [False] * 2
        assert "still owes answers to 4 earlier questions" in answers[5].reason
        assert len(asked) == 4

    def test_no_word_of_a_run_is_unknown_and_not_nothing(self):
        witness = Witness("the forgetful", lambda some: {some[0]: None}, in_database=False)
        first, second = hear([witness], [JobRef(7, 1), JobRef(8, 1)], MINUTE)[0].values()
        assert first is None
        assert isinstance(second, Unknown)

    def test_runs_that_cannot_be_read_are_told_apart_from_the_others(self):
        runs = [JobRef(number, 1) for number in range(1000)]
        broken = {runs[0], runs[499], runs[500], runs[999]}

        def testify(some: Any) -> Any:
            if broken & set(some):
                raise ValueError("year 99999 is out of range")
            return {run: run.job_id for run in some}

        answers = hear([Witness("the ledger", testify, in_database=False)], runs, MINUTE)[0]
        assert {run for run in runs if isinstance(answers[run], Unknown)} == broken
        assert all(answers[run] == run.job_id for run in set(runs) - broken)
        assert answers[runs[0]].reason == "the ledger: ValueError: year 99999 is out of range"

    def test_a_witness_that_fails_for_everybody_is_not_asked_about_everybody(self):
        asked = []

        def testify(some: Any) -> Any:
            asked.append(some)
            raise ValueError("no")

        runs = [JobRef(number, 1) for number in range(1000)]
        answers = hear([Witness("the broken", testify, in_database=False)], runs, MINUTE)[0]
        assert all(isinstance(answers[run], Unknown) for run in runs)
        assert len(asked) < 100

    def test_witnesses_beyond_the_database_leave_no_thread_behind(self, memory: Deployment):
        job = running(memory)
        observe(memory, job.id)
        assert all(hearing._owed[name] == 0 for name in hearing._owed if "memory" in name)


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Have another session keep everybody from a table; it lets go by itself, so that who waits is late, not lost."""
    is_locked, released = Event(), Event()

    def lock() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            is_locked.set()
            released.wait(20)
            cursor.execute("ROLLBACK")

    holding = in_thread(lock)
    assert is_locked.wait(60)
    try:
        yield
    finally:
        released.set()
        holding.result(60)


@pytest.mark.skipif("connection.vendor != 'postgresql'")
class TestLockedTables:
    """Who reads SQLite waits for nobody."""

    def test_of_a_witness_silence_it_alone(self, memory: Deployment):
        job = running(memory)
        heard = observe(memory, job.id)
        with locked("headcount_task"):
            seen = observe(memory, job.id)
        assert isinstance(seen.ledger, Unknown)
        assert "timeout" in seen.ledger.reason
        assert (seen.state, seen.queue, seen.progress) == (heard.state, heard.queue, heard.progress)
        assert observe(memory, job.id).ledger == heard.ledger

    def test_of_jobs_leave_a_diagnosis_without_an_answer_and_not_waiting(self, memory: Deployment):
        job = running(memory)
        with (
            locked("headcount_job"),
            pytest.raises(EngineUnavailableError, match=f"the row of job {job.id}: .*timeout"),
        ):
            observe(memory, job.id)

    def test_of_jobs_fail_the_sub_checks_that_read_them_and_no_other(self, memory: Deployment):
        running(memory)
        with locked("headcount_job"):
            report = jobs_health_check(memory)
        failed = {name for name, outcome in report.items() if outcome.unfixable}
        assert failed == {"unreadable", "zombies"}
        assert report.jobs == 0
        again = jobs_health_check(memory)
        assert (again.jobs, again.total.unfixable) == (1, 0)

    def test_of_patience_are_aged_at_the_next_look(self, memory: Deployment):
        job = running(memory)
        with locked("headcount_jobpatience"):
            (seen,) = observe_many(memory, [job], remember=True)
        assert seen.job == job
        assert not JobPatience.objects.exists()
        observe_many(memory, [job], remember=True)
        assert JobPatience.objects.filter(job_id=job.id).exists()


class TestOddRows:
    def test_a_status_that_nobody_knows(self, deployment: Deployment):
        job = running(deployment)
        Job.objects.filter(pk=job.id).update(status="WHATEVER")
        seen = observe(deployment, job.id)
        assert seen.job.status == "WHATEVER"
        assert seen.job.state is None
        assert isinstance(seen.ledger, LedgerTestimony)

    def test_a_time_that_cannot_be_read_silences_one_job(self, deployment: Deployment):
        page = [running(deployment) for _ in range(5)]
        self._spoil("UPDATE headcount_task SET accounted_at = %s WHERE job_id = %s AND state = 'saved'", page[2].id)
        seen = observe_many(deployment, page)
        assert [isinstance(observation.ledger, Unknown) for observation in seen] == [False, False, True, False, False]
        assert all(observation.queue == QueueDepth(7, 1, 0) for observation in seen)

    def test_a_patience_that_cannot_be_read_ages_nobody_and_is_left_alone(
        self, deployment: Deployment, clock: FrozenClock
    ):
        page = [running(deployment) for _ in range(3)]
        observe_many(deployment, page, remember=True)
        self._spoil("UPDATE headcount_jobpatience SET moved_at = %s WHERE job_id = %s", page[1].id)
        clock.advance(MINUTE)
        seen = observe_many(deployment, page, remember=True)
        assert [observation.patience.without_progress for observation in seen] == [MINUTE, timedelta(0), MINUTE]
        kept = JobPatience.objects.order_by("job_id").values_list("idle_seconds", flat=True)
        assert list(kept) == [60.0, 0.0, 60.0]

    def test_workers_and_stages_that_fit_nothing(self, deployment: Deployment):
        job = running(deployment)
        for name, pipelines in (("odd", {"a": 1}), ("odder", "notes"), ("number", 5), ("good", [PIPELINE, 7, None])):
            Worker.objects.create(project_id=job.project_id, name=name, pipelines=pipelines, last_seen_at=EPOCH)
        JobStage.objects.create(job_id=job.id, stage="unheard-of", updated_at=EPOCH)
        seen = observe(deployment, job.id)
        assert seen.workers == WorkersTestimony(1, EPOCH)
        assert [stage.stage for stage in seen.progress.stages] == [Stage.PROCESS]

    @staticmethod
    def _spoil(statement: str, *parameters: Any) -> None:
        """Write what no driver reads back as a time: text on SQLite, the end of days on PostgreSQL."""
        odd = "infinity" if connection.vendor == "postgresql" else "yesterday"
        with connection.cursor() as cursor:
            cursor.execute(statement, [odd, *parameters])
            assert cursor.rowcount > 0


class TestLeftovers:
    def test_what_engines_hold_of_a_job_that_ended(self, any_deployment: Deployment):
        job = running(any_deployment)
        Job.objects.filter(pk=job.id).update(status=JobState.REVOKED, finished_at=EPOCH)
        found = observe(any_deployment, job.id).leftovers
        assert found == {"queue": "7 messages that wait and 1 under a lease", "state manager": "counts of 10 tasks"}
        any_deployment.queue.remove(job.ref)
        any_deployment.state.clean_up(job.ref)
        assert observe(any_deployment, job.id).leftovers == {}

    def test_a_queue_elsewhere_that_knows_of_an_empty_run_holds_something(self, memory: Deployment):
        job = make_started_job(1)
        memory.queue.publish(job.ref, [])
        Job.objects.filter(pk=job.id).update(status=JobState.REVOKED, finished_at=EPOCH)
        assert list(observe(memory, job.id).leftovers) == ["queue"]

    def test_no_patience_is_kept_with_a_job_that_ended(self, deployment: Deployment):
        job = running(deployment)
        Job.objects.filter(pk=job.id).update(status=JobState.REVOKED, finished_at=EPOCH)
        observe_many(deployment, [jobs.get(job.id)], remember=True)
        assert not JobPatience.objects.exists()
