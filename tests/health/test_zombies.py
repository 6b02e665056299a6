"""What engines hold of jobs that are over or do not exist is deleted after a while; what is unclear is reported."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection

from headcount.domain.records import JobRef
from headcount.domain.states import FINAL_STATES, RUNNING_STATES
from headcount.engines.database.models import QueueMessage, RunState, StateMark
from headcount.errors import EngineUnavailableError
from headcount.health.report import CheckOutcome
from headcount.health.zombies import Fate, Held, fate_of, sweep
from headcount.models import Job
from headcount.ports.deployment import Deployment
from headcount.ports.holdings import HeldRun, Holdings
from headcount.store.jobs import Standing
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH
from tests.flow.given import dispatched
from tests.health.damage import DAMAGE, Damaged, Remedy, repair_events

JOB = JobRef(7, 1)
HOUR = timedelta(hours=1)
NOW = EPOCH + timedelta(days=1)
LONG_AGO, LATELY = NOW - HOUR, NOW - HOUR / 2


def fate(standing: Standing | str | None, held: Held | None = None, job: JobRef = JOB) -> Fate:
    return fate_of(job, held or Held(("queue",), None, is_foreign=False), standing, NOW, HOUR)[0]


class TestTheRule:
    @pytest.mark.parametrize("status", sorted(RUNNING_STATES))
    def test_what_belongs_to_a_running_job_is_kept_of_whatever_run(self, status: str) -> None:
        assert fate(Standing(1, status, None)) is Fate.KEEP
        assert fate(Standing(2, status, None)) is Fate.KEEP

    @pytest.mark.parametrize("status", sorted(FINAL_STATES))
    def test_what_belongs_to_an_ended_job_is_deleted_after_the_safety_age(self, status: str) -> None:
        assert fate(Standing(1, status, LONG_AGO)) is Fate.DELETE
        assert fate(Standing(2, status, LONG_AGO)) is Fate.DELETE
        assert fate(Standing(1, status, LATELY)) is Fate.KEEP

    @pytest.mark.parametrize(
        "standing",
        [
            Standing(1, "EXPLODED", LONG_AGO),
            Standing(1, "", None),
            Standing(1, "SUCCESS", None),
            "the row cannot be read",
        ],
    )
    def test_what_is_unclear_is_reported(self, standing: Standing | str) -> None:
        assert fate(standing) is Fate.REPORT

    def test_a_run_that_the_job_has_not_reached_is_reported(self) -> None:
        assert fate(Standing(1, "SUCCESS", LONG_AGO), job=JobRef(7, 2)) is Fate.REPORT

    @pytest.mark.parametrize(
        ("since", "is_foreign", "expected"),
        [
            (LONG_AGO, True, Fate.DELETE),
            (LATELY, True, Fate.KEEP),
            (LATELY, False, Fate.KEEP),
            (None, True, Fate.REPORT),
            (None, False, Fate.DELETE),
        ],
    )
    def test_what_belongs_to_no_job_is_deleted_once_it_is_known_to_be_old(self, since, is_foreign, expected) -> None:
        assert fate(None, Held(("queue",), since, is_foreign)) is expected


@pytest.fixture
def left_over(deployment: Deployment) -> Damaged:
    return DAMAGE[Remedy.CLEAN_UP](deployment)


@pytest.mark.django_db
class TestTheSweep:
    def test_leftovers_of_an_ended_job_go_after_the_safety_age(
        self, deployment: Deployment, clock: FrozenClock, left_over: Damaged
    ) -> None:
        assert sweep(deployment) == CheckOutcome()
        clock.advance(deployment.settings.zombie_safety_age)
        assert sweep(deployment) == CheckOutcome(1, 1, 0)
        assert repair_events(left_over.job) == ["repair.clean_up"]
        left_over.repaired()
        assert sweep(deployment) == CheckOutcome()

    def test_leftovers_of_a_deleted_job_go(self, deployment: Deployment) -> None:
        QueueMessage.objects.create(job_id=999, run=1, ordinal=0)
        StateMark.objects.create(job_id=998, run=2, stage="process", ordinal=0, failed=False)
        assert sweep(deployment) == CheckOutcome(2, 2, 0)
        assert not QueueMessage.objects.exists()
        assert not StateMark.objects.exists()

    def test_a_running_job_keeps_everything(self, deployment: Deployment, clock: FrozenClock) -> None:
        job = dispatched(deployment, 3)
        clock.advance(timedelta(days=400))
        assert sweep(deployment) == CheckOutcome()
        assert deployment.queue.depth(job.ref).pending == 3
        assert RunState.objects.count() == 1

    def test_a_status_that_nobody_knows_is_reported_and_keeps_no_other_from_going(
        self, deployment: Deployment, clock: FrozenClock, left_over: Damaged
    ) -> None:
        odd = dispatched(deployment, 1)
        Job.objects.filter(pk=odd.id).update(status="EXPLODED")
        clock.advance(deployment.settings.zombie_safety_age)
        assert sweep(deployment) == CheckOutcome(2, 1, 1)
        assert deployment.queue.depth(odd.ref).pending == 1
        left_over.repaired()

    def test_a_time_that_cannot_be_read_is_reported_and_keeps_no_other_from_going(
        self, deployment: Deployment, clock: FrozenClock, left_over: Damaged
    ) -> None:
        if connection.vendor != "sqlite":
            pytest.skip("PostgreSQL stores no time that it cannot read")
        odd = DAMAGE[Remedy.CLEAN_UP](deployment)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE headcount_job SET finished_at = 'yesterday' WHERE id = %s", [odd.job.id])
        clock.advance(deployment.settings.zombie_safety_age)
        assert sweep(deployment) == CheckOutcome(2, 1, 1)
        assert deployment.queue.depth(odd.job.ref).pending == 2
        left_over.repaired()

    def test_an_engine_that_does_not_answer_keeps_the_other_from_nothing(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        RunState.objects.create(job_id=999, run=1, total=1)
        monkeypatch.setattr(type(deployment.queue), "held_runs", does_not_answer)
        monkeypatch.setattr(type(deployment.queue), "remove", lambda *_: None)
        assert sweep(deployment) == CheckOutcome(2, 1, 1)
        assert not RunState.objects.exists()

    def test_an_engine_that_fails_to_delete_is_reported(
        self, deployment: Deployment, clock: FrozenClock, left_over: Damaged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock.advance(deployment.settings.zombie_safety_age)
        monkeypatch.setattr(type(deployment.queue), "remove", does_not_answer)
        assert sweep(deployment) == CheckOutcome(1, 0, 1)
        assert repair_events(left_over.job) == ["repair.clean_up"], "what was begun is told, however it ended"

    def test_an_engine_that_deletes_nothing_is_asked_and_told_of_once_in_a_sweep(
        self, deployment: Deployment, clock: FrozenClock, left_over: Damaged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        others = [DAMAGE[Remedy.CLEAN_UP](deployment) for _ in range(3)]
        clock.advance(deployment.settings.zombie_safety_age)
        with monkeypatch.context() as patched:
            patched.setattr(type(deployment.queue), "remove", does_not_answer)
            assert sweep(deployment) == CheckOutcome(1, 0, 1)
        assert [repair_events(other.job) for other in others] == [[], [], []]
        assert sweep(deployment) == CheckOutcome(4, 4, 0)

    def test_a_run_whose_deletion_breaks_keeps_no_other_from_going(
        self, deployment: Deployment, clock: FrozenClock, left_over: Damaged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = DAMAGE[Remedy.CLEAN_UP](deployment)
        really = type(deployment.queue).remove

        def breaks_for_the_first(queue: object, job: JobRef) -> None:
            if job == left_over.job.ref:
                raise RuntimeError("a fault that nobody foresaw")
            really(queue, job)

        clock.advance(deployment.settings.zombie_safety_age)
        monkeypatch.setattr(type(deployment.queue), "remove", breaks_for_the_first)
        assert sweep(deployment) == CheckOutcome(2, 1, 1)
        assert left_over.job.id < other.job.id
        other.repaired()

    def test_names_of_no_run_are_reported(self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        odd = Holdings((HeldRun(JobRef(999, 1), deployment.clock()),), ("headcount:who-knows",))
        monkeypatch.setattr(type(deployment.state), "held_runs", lambda _: odd)
        assert sweep(deployment) == CheckOutcome(1, 0, 1), "the run is too young, the name is of no run"

    def test_the_age_of_what_several_engines_hold_is_that_of_the_youngest(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = HeldRun(JobRef(999, 1), deployment.clock() - timedelta(days=1))
        monkeypatch.setattr(type(deployment.queue), "held_runs", lambda _: Holdings((run,)))
        monkeypatch.setattr(
            type(deployment.state), "held_runs", lambda _: Holdings((run._replace(since=deployment.clock()),))
        )
        assert sweep(deployment) == CheckOutcome()

    def test_the_setting_says_how_old(self, deployment: Deployment, left_over: Damaged) -> None:
        settings = deployment.settings.model_copy(update={"zombie_safety_age": timedelta(0)})
        assert sweep(replace(deployment, settings=settings)) == CheckOutcome(1, 1, 0)


def does_not_answer(*_: object, **__: object) -> None:
    raise EngineUnavailableError("connection refused")
