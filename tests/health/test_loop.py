"""The loop does what the diagnosis says, to every job by itself, and tells what it did."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog
from django.db import OperationalError, connection

from headcount import metrics
from headcount.engines.database.models import Dispatch, QueueMessage, RunState, StateMark
from headcount.errors import EngineUnavailableError
from headcount.health import treat
from headcount.health.decide import decide
from headcount.health.finding import Condition, Remedy
from headcount.health.loop import jobs_health_check
from headcount.health.observe import observe
from headcount.health.policy import policy_of
from headcount.health.repairs.ground import event_name
from headcount.health.report import CheckOutcome
from headcount.health.stale import check_stale_jobs
from headcount.health.treat import Round
from headcount.models import Job, JobEvent, JobStage
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger
from headcount.testing.clock import FrozenClock
from tests.flow.given import assert_ended, claimed, dispatched, posted, submitted, success
from tests.health.damage import DAMAGE, REPAIR_EVENTS, everything, repair_events

pytestmark = pytest.mark.django_db

TICK = timedelta(seconds=60)


def ticks(deployment: Deployment, clock: FrozenClock, number: int) -> None:
    """Let time pass with a loop that looks every minute."""
    for _ in range(number):
        clock.advance(TICK)
        jobs_health_check(deployment)


class TestTheReport:
    def test_it_names_every_sub_check_and_the_jobs_it_looked_at(self, deployment: Deployment) -> None:
        dispatched(deployment, 1)
        report = jobs_health_check(deployment)
        assert set(report) == {
            "outbox",
            "expired_leases",
            "finished_not_finalised",
            "lost_tasks",
            "state",
            "dispatch_died",
            "stalled",
            "progress",
            "zombies",
            "snapshots",
            "unreadable",
        }
        assert (report.jobs, report.total) == (1, CheckOutcome(checked=1))

    def test_every_running_job_leaves_a_snapshot_of_what_each_witness_says(self, deployment: Deployment) -> None:
        made = [dispatched(deployment, 1), dispatched(deployment, 2)]
        with structlog.testing.capture_logs() as said:
            report = jobs_health_check(deployment)
        snapshots = [line for line in said if line["event"] == "health.snapshot"]
        assert report["snapshots"] == CheckOutcome(checked=2)
        assert [line["job"] for line in snapshots] == [job.id for job in made]
        assert [line["witnesses"]["ledger"]["waiting"] for line in snapshots] == [1, 2]
        assert {"job", "ledger", "state", "queue", "dispatcher", "workers"} <= set(snapshots[0]["witnesses"])

    def test_it_is_measured(self, deployment: Deployment, clock: FrozenClock) -> None:
        job = dispatched(deployment, 3)
        QueueMessage.objects.filter(job_id=job.id).delete()
        jobs_health_check(deployment)
        assert metrics.tick_jobs._value.get() == 1
        assert metrics.tick_ended_at._value.get() == clock().timestamp()
        assert metrics.tick_outcomes.labels("lost_tasks", "fixed")._value.get() == 1
        jobs_health_check(deployment)
        assert metrics.tick_outcomes.labels("lost_tasks", "fixed")._value.get() == 0


SUB_CHECK = {
    Remedy.FINALISE: "finished_not_finalised",
    Remedy.FINISH_CANCEL: "finished_not_finalised",
    Remedy.LEVEL_PROGRESS: "progress",
    Remedy.REBUILD_STATE: "state",
    Remedy.REPUBLISH: "lost_tasks",
    Remedy.FAIL_SPENT: "lost_tasks",
    Remedy.RESUME_DISPATCH: "dispatch_died",
    Remedy.FOLLOW_DISPATCHER: "finished_not_finalised",
    Remedy.FOLLOW_PROGRESS: "finished_not_finalised",
    Remedy.CLEAN_UP: "zombies",
}


class TestRepairs:
    @pytest.mark.parametrize("remedy", SUB_CHECK)
    def test_what_is_the_matter_is_found_decided_and_mended(
        self, deployment: Deployment, clock: FrozenClock, remedy: Remedy
    ) -> None:
        damaged = DAMAGE[remedy](deployment)
        jobs_health_check(deployment)
        if remedy is Remedy.CLEAN_UP:
            clock.advance(deployment.settings.zombie_safety_age)
        ticks(deployment, clock, 3)
        damaged.repaired()
        assert repair_events(damaged.job).count(event_name(remedy)) == 1
        assert jobs_health_check(deployment).total.unfixable == 0

    @pytest.mark.parametrize("remedy", sorted(set(DAMAGE) - {Remedy.REVOKE}))
    def test_what_the_diagnosis_says_is_what_the_loop_does(
        self, deployment: Deployment, clock: FrozenClock, remedy: Remedy
    ) -> None:
        damaged = DAMAGE[remedy](deployment)
        clock.advance(TICK)
        findings = decide(observe(deployment, damaged.job.id), policy_of(deployment.settings), clock())
        announced = [event_name(found.remedy) for found in findings if found.remedy is not Remedy.NONE]
        list(Round(deployment, policy_of(deployment.settings)).these([damaged.job.id]))
        assert set(repair_events(damaged.job)) <= set(announced)
        assert repair_events(damaged.job)[:1] == announced[:1]

    def test_a_job_that_no_worker_ever_comes_for_ends_revoked_after_the_policy_says_so(
        self, deployment: Deployment, clock: FrozenClock
    ) -> None:
        settings = deployment.settings.model_copy(update={"revoke_without_workers_after": timedelta(minutes=15)})
        patient = Deployment(**{**vars(deployment), "settings": settings})
        job = dispatched(patient, 2)
        jobs_health_check(patient)
        ticks(patient, clock, 14)
        assert jobs.get(job.id).status == "STARTED"
        ticks(patient, clock, 2)
        assert jobs.get(job.id).status == "REVOKED"
        assert repair_events(job) == ["repair.revoke"]

    def test_the_incident_ends_as_success(self, deployment: Deployment, clock: FrozenClock) -> None:
        """Every task is done, and somebody's progress row says that one is not."""
        job = dispatched(deployment, 5)
        damaged = [success(task) for task in claimed(deployment, job)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("headcount.flow.account.finalise", lambda *_: False)
            posted(deployment, job, damaged)
        JobStage.objects.filter(job_id=job.id).update(done=4)
        clock.advance(timedelta(days=3))
        assert jobs_health_check(deployment)["finished_not_finalised"] == CheckOutcome(1, 1, 0)
        assert_ended(deployment, job, "SUCCESS", saved=5)

    def test_a_progress_row_that_claims_too_much_keeps_no_job_from_its_verdict(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.FAIL_SPENT](deployment)
        batch = [success(task) for task in claimed(deployment, damaged.job)]
        JobStage.objects.filter(job_id=damaged.job.id).update(done=4, failed=0)
        posted(deployment, damaged.job, batch)
        assert_ended(deployment, damaged.job, "SUCCESS", saved=2, failed=2)

    def test_the_fallback_is_loud_once_a_tick(self, deployment: Deployment) -> None:
        job = dispatched(deployment, 4)
        RunState.objects.all().delete()
        StateMark.objects.all().delete()
        counted = metrics.state_fallbacks.labels("absent")
        before = counted._value.get()
        with structlog.testing.capture_logs() as said:
            jobs_health_check(deployment)
        (warning,) = [line for line in said if line["event"] == "state.fallback"]
        assert (warning["log_level"], warning["job"]) == ("warning", job.id)
        assert f"no counts of job {job.id}" in warning["reason"]
        assert "the ledger is used instead" in warning["fallback"]
        assert counted._value.get() == before + 1
        jobs_health_check(deployment)
        assert counted._value.get() == before + 1, "it is rebuilt"


def breaks_for(job_id: int, really: Callable[..., Any], id_of: Callable[..., int]) -> Callable[..., Any]:
    def act(*arguments: Any, **named: Any) -> Any:
        if id_of(*arguments) == job_id:
            raise ValueError("this one is broken")
        return really(*arguments, **named)

    return act


class TestOneJobKeepsNoOtherFromBeingLookedAt:
    @pytest.fixture
    def three(self, deployment: Deployment) -> list[int]:
        """Three jobs, each with lost tasks."""
        made = [dispatched(deployment, 2).id for _ in range(3)]
        QueueMessage.objects.all().delete()
        return made

    def held(self) -> list[int]:
        return sorted(set(QueueMessage.objects.values_list("job_id", flat=True)))

    def test_in_observing(self, deployment: Deployment, three: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        really = treat.observe_many

        def observe_many(deployment, page, **options):
            if three[0] in {job.id for job in page}:
                raise ValueError("this one is broken")
            return really(deployment, page, **options)

        monkeypatch.setattr(treat, "observe_many", observe_many)
        report = jobs_health_check(deployment)
        assert (report["unreadable"], report.jobs) == (CheckOutcome(1, 0, 1), 3)
        assert self.held() == three[1:]

    def test_in_deciding(self, deployment: Deployment, three: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(treat, "decide", breaks_for(three[0], treat.decide, lambda seen, *_: seen.job.id))
        assert jobs_health_check(deployment)["unreadable"] == CheckOutcome(1, 0, 1)
        assert self.held() == three[1:]

    def test_in_applying(self, deployment: Deployment, three: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(treat, "apply", breaks_for(three[0], treat.apply, lambda _, seen, __: seen.job.id))
        not_done = metrics.repairs_not_done.labels("republish")
        before = not_done._value.get()
        assert jobs_health_check(deployment)["lost_tasks"] == CheckOutcome(3, 2, 1)
        assert self.held() == three[1:]
        assert not_done._value.get() == before + 1

    def test_by_a_time_that_cannot_be_read(self, deployment: Deployment, three: list[int]) -> None:
        if connection.vendor != "sqlite":
            pytest.skip("PostgreSQL stores no time that it cannot read")
        odd = submitted(deployment, 1)
        Dispatch.objects.filter(job_id=odd.id).delete()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE headcount_job SET created_at = 'yesterday' WHERE id = %s", [odd.id])
        assert jobs_health_check(deployment)["unreadable"] == CheckOutcome(1, 0, 1)
        assert self.held() == three

    def test_by_a_status_that_nobody_knows(self, deployment: Deployment, three: list[int]) -> None:
        Job.objects.filter(pk=three[0]).update(status="EXPLODED")
        assert jobs_health_check(deployment)["unreadable"] == CheckOutcome(1, 0, 1)
        assert self.held() == three[1:]
        assert jobs.get(three[0]).status == "EXPLODED"

    def test_an_engine_that_does_not_answer_is_asked_once_a_tick_and_keeps_no_other_remedy(
        self, deployment: Deployment, three: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def does_not_answer(*_: object, **__: object) -> None:
            asked.append(1)
            raise EngineUnavailableError("connection refused")

        finished = DAMAGE[Remedy.FINALISE](deployment)
        with monkeypatch.context() as patch:
            patch.setattr(type(deployment.queue), "publish", does_not_answer)
            report = jobs_health_check(deployment)
        assert (report["lost_tasks"], len(asked)) == (CheckOutcome(3, 0, 3), 1)
        finished.repaired()
        assert jobs_health_check(deployment)["lost_tasks"] == CheckOutcome(3, 3, 0)

    def test_a_database_that_does_not_answer_is_not_asked_for_every_job(
        self, deployment: Deployment, three: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        pages = iter([three])

        def is_gone(*_: object, **__: object) -> list[int]:
            asked.append(1)
            raise OperationalError("connection refused")

        monkeypatch.setattr(treat, "observe_many", is_gone)
        monkeypatch.setattr(treat.jobs, "running_ids", lambda *_: next(pages, None) or is_gone())
        report = jobs_health_check(deployment)
        assert (report["unreadable"], len(asked)) == (CheckOutcome(1, 0, 1), 2)

    @pytest.mark.parametrize("place", ["relay", "sweep", "Round"])
    def test_a_sub_check_that_breaks_keeps_the_others_from_nothing(
        self, deployment: Deployment, three: list[int], monkeypatch: pytest.MonkeyPatch, place: str
    ) -> None:
        RunState.objects.create(job_id=999, run=1, total=1)

        def breaks(*_: object, **__: object) -> None:
            raise ValueError("broken")

        monkeypatch.setattr(f"headcount.health.loop.{place}", breaks)
        report = jobs_health_check(deployment)
        assert report.total.unfixable == 1
        assert (self.held() == three) == (place != "Round")
        assert RunState.objects.filter(job_id=999).exists() == (place == "sweep")


class TestStaleJobs:
    def test_nothing_is_stale_that_no_loop_has_seen_standing_still(
        self, deployment: Deployment, clock: FrozenClock
    ) -> None:
        dispatched(deployment, 2)
        clock.advance(timedelta(days=30))
        assert check_stale_jobs(deployment) == []

    def test_jobs_without_progress_are_returned_with_what_was_decided_and_done(
        self, deployment: Deployment, clock: FrozenClock
    ) -> None:
        still, moving = dispatched(deployment, 2), dispatched(deployment, 30)
        jobs_health_check(deployment)
        for _ in range(11):
            posted(deployment, moving, [success(task) for task in claimed(deployment, moving, 1)])
            ticks(deployment, clock, 1)
        QueueMessage.objects.filter(job_id=still.id).delete()
        (stale,) = check_stale_jobs(deployment)
        assert stale.job_id == still.id
        assert stale.without_progress >= timedelta(minutes=10)
        done = {item.finding.condition: item.changed for item in stale.treatments if item.finding}
        assert done[Condition.LOST_TASKS]
        assert repair_events(still) == ["repair.republish"]

    def test_minutes_say_how_long(self, deployment: Deployment, clock: FrozenClock) -> None:
        job = dispatched(deployment, 2)
        jobs_health_check(deployment)
        ticks(deployment, clock, 3)
        assert check_stale_jobs(deployment) == []
        assert [stale.job_id for stale in check_stale_jobs(deployment, minutes=2)] == [job.id]

    @pytest.mark.parametrize("remedy", DAMAGE)
    def test_a_dry_run_changes_no_row(self, deployment: Deployment, clock: FrozenClock, remedy: Remedy) -> None:
        damaged = DAMAGE[remedy](deployment)
        counted = metrics.state_fallbacks.labels("absent")._value.get()
        clock.advance(TICK)
        before = everything()
        stale = check_stale_jobs(deployment, minutes=0, dry_run=True)
        assert everything() == before
        assert metrics.state_fallbacks.labels("absent")._value.get() == counted
        if not damaged.observation.job.is_final:
            assert [item.job_id for item in stale] == [damaged.job.id]
            assert not any(treatment.changed for treatment in stale[0].treatments)

    def test_a_dry_run_says_what_would_be_done(self, deployment: Deployment) -> None:
        DAMAGE[Remedy.REPUBLISH](deployment)
        (stale,) = check_stale_jobs(deployment, minutes=0, dry_run=True)
        assert Remedy.REPUBLISH in {item.finding.remedy for item in stale.treatments if item.finding}


def queries_of_a_tick(deployment: Deployment, count: Callable[..., Any]) -> int:
    with count() as captured:
        jobs_health_check(deployment)
    return len(captured)


MOST_OF_A_PAGE = 50
"""On PostgreSQL every question sets its own time limit, in a savepoint where a test holds a transaction."""


class TestQueries:
    @pytest.fixture
    def count(self, django_assert_max_num_queries: Any) -> Callable[..., Any]:
        return lambda: django_assert_max_num_queries(10_000)

    def running_jobs(self, deployment: Deployment, number: int) -> None:
        """So many jobs of two tasks, healthy, made in a few statements."""
        first = dispatched(deployment, 2)
        row = Job.objects.get(pk=first.id)
        have = Job.objects.count()
        columns = {field.attname: getattr(row, field.attname) for field in Job._meta.concrete_fields}
        columns.pop("id")
        made = Job.objects.bulk_create([Job(**columns) for _ in range(number - have)], batch_size=500)
        new_ids = sorted(Job.objects.exclude(pk__lte=first.id).values_list("pk", flat=True))[: len(made)]
        for model, of_first in (
            (ledger.Task, ledger.Task.objects.filter(job_id=first.id)),
            (JobStage, JobStage.objects.filter(job_id=first.id)),
            (QueueMessage, QueueMessage.objects.filter(job_id=first.id)),
            (RunState, RunState.objects.filter(job_id=first.id)),
            (Dispatch, Dispatch.objects.filter(job_id=first.id)),
        ):
            patterns = [
                {field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields}
                for row in of_first
            ]
            copies = [
                model(**{name: value for name, value in pattern.items() if name != "id"} | {"job_id": job_id})
                for job_id in new_ids
                for pattern in patterns
            ]
            model.objects.bulk_create(copies, batch_size=500)

    def test_their_number_grows_with_the_pages_and_not_with_the_jobs(
        self, deployment: Deployment, count: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(treat, "PAGE", 1000)
        self.running_jobs(deployment, 1000)
        jobs_health_check(deployment)
        of_a_thousand = queries_of_a_tick(deployment, count)
        monkeypatch.setattr(treat, "PAGE", 100)
        of_ten_pages = queries_of_a_tick(deployment, count)
        monkeypatch.setattr(treat, "PAGE", 50)
        of_twenty_pages = queries_of_a_tick(deployment, count)
        per_page = (of_twenty_pages - of_ten_pages) / 10
        assert of_ten_pages == of_a_thousand + 9 * per_page
        assert per_page <= MOST_OF_A_PAGE
        assert of_a_thousand <= 2 * MOST_OF_A_PAGE
        assert not JobEvent.objects.filter(name__in=REPAIR_EVENTS).exists()

    def test_a_tick_over_as_many_jobs_again_asks_no_more_than_another_page(
        self, deployment: Deployment, count: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(treat, "PAGE", 100)
        numbers = []
        for jobs_there in (20, 100, 200):
            self.running_jobs(deployment, jobs_there)
            jobs_health_check(deployment)
            numbers.append(queries_of_a_tick(deployment, count))
        assert numbers[0] == numbers[1], "one page, however full"
        assert numbers[2] - numbers[1] <= MOST_OF_A_PAGE, "one page more"


def test_a_job_just_submitted_is_left_to_its_dispatcher(deployment: Deployment) -> None:
    job = submitted(deployment, 2)
    Dispatch.objects.all().delete()
    assert jobs_health_check(deployment)["dispatch_died"] == CheckOutcome()
    assert repair_events(job) == []
