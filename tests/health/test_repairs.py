"""Every repair mends what it is for, once: again, at once, or too late it changes nothing."""

from dataclasses import replace

import pytest

from headcount import metrics
from headcount.clock import system_clock
from headcount.domain.records import JobProgress, TaskSpec
from headcount.domain.states import JobState
from headcount.engines.database.models import Dispatch
from headcount.errors import EngineUnavailableError
from headcount.flow.cancel import cancel
from headcount.health.apply import REPAIRS, apply
from headcount.health.audit import audit
from headcount.health.finding import Condition, Remedy
from headcount.health.repairs.ground import event_name
from headcount.models import Job, JobEvent, RepairTurn, Task
from headcount.ports.deployment import Deployment
from headcount.ports.state_manager import Unknown
from headcount.store import jobs, ledger, progress, turns
from headcount.wiring import build
from tests.flow.given import claimed, posted, success
from tests.flow.threads import at_once
from tests.health.damage import DAMAGE, Damaged, finding, repair_events
from tests.settings import HEADCOUNT

EVERY_REMEDY = pytest.mark.parametrize("remedy", DAMAGE)
EVERY_REMEDY_OF_RUNNING_JOBS = pytest.mark.parametrize("remedy", sorted(set(DAMAGE) - {Remedy.CLEAN_UP}))


def applied(deployment: Deployment, damaged: Damaged) -> bool:
    return apply(deployment, damaged.observation, damaged.finding)


def test_there_is_a_repair_for_every_remedy_and_a_test_for_every_repair() -> None:
    assert set(REPAIRS) == set(DAMAGE) == set(Remedy) - {Remedy.NONE}


@pytest.mark.django_db
class TestAlone:
    @EVERY_REMEDY
    def test_a_repair_mends_and_tells_of_it_once_however_often_it_is_asked_for(
        self, deployment: Deployment, remedy: Remedy
    ) -> None:
        damaged = DAMAGE[remedy](deployment)
        counted = metrics.repairs.labels(remedy)
        before = counted._value.get()
        said = [applied(deployment, damaged) for _ in range(3)]
        assert said == [True, False, False]
        assert repair_events(damaged.job) == [event_name(remedy)]
        assert counted._value.get() == before + 1
        assert not RepairTurn.objects.exists()
        damaged.repaired()

    @EVERY_REMEDY
    def test_the_event_has_the_evidence_and_the_explanation(self, deployment: Deployment, remedy: Remedy) -> None:
        damaged = DAMAGE[remedy](deployment)
        applied(deployment, damaged)
        event = JobEvent.objects.get(job_id=damaged.job.id, name=event_name(remedy))
        assert event.message.startswith(damaged.finding.explanation)
        assert event.evidence["ledger"] == {"saved": 1}
        assert event.evidence["condition"] == damaged.finding.condition
        assert event.level == ("info" if remedy is Remedy.LEVEL_PROGRESS else "warning")

    @EVERY_REMEDY_OF_RUNNING_JOBS
    def test_a_job_that_ended_since_it_was_observed_is_left_alone(self, deployment: Deployment, remedy: Remedy) -> None:
        damaged = DAMAGE[remedy](deployment)
        cancel(deployment, damaged.job.id)
        ended = jobs.get(damaged.job.id)
        assert not applied(deployment, damaged)
        assert jobs.get(damaged.job.id) == ended
        assert repair_events(damaged.job) == []

    @EVERY_REMEDY_OF_RUNNING_JOBS
    def test_a_job_that_went_on_to_another_run_is_left_alone(self, deployment: Deployment, remedy: Remedy) -> None:
        damaged = DAMAGE[remedy](deployment)
        Job.objects.filter(pk=damaged.job.id).update(run=2)
        before = ledger.counts(damaged.job.id)
        assert not applied(deployment, damaged)
        assert (ledger.counts(damaged.job.id), repair_events(damaged.job)) == (before, [])

    @EVERY_REMEDY
    def test_a_job_that_was_deleted_is_no_crash(self, deployment: Deployment, remedy: Remedy) -> None:
        damaged = DAMAGE[remedy](deployment)
        Job.objects.filter(pk=damaged.job.id).delete()
        assert not applied(deployment, damaged)

    @EVERY_REMEDY
    def test_while_another_repairs_the_run_nothing_is_done(self, deployment: Deployment, remedy: Remedy) -> None:
        damaged = DAMAGE[remedy](deployment)
        with turns.taking(damaged.job.ref, deployment.clock()):
            assert not applied(deployment, damaged)
        assert applied(deployment, damaged)

    def test_no_remedy_is_no_repair(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.FINALISE](deployment)
        assert not apply(deployment, damaged.observation, finding(Condition.HEALTHY, Remedy.NONE))
        assert jobs.status_of(damaged.job.id) is JobState.STARTED


@pytest.mark.django_db
class TestTheDispatchersWord:
    """A job that its dispatcher does by itself ends as that says, and never as a success with a task open."""

    def ended(self, deployment: Deployment, state: JobState, *, saved: int) -> JobState | None:
        damaged = DAMAGE[Remedy.FOLLOW_DISPATCHER](deployment)
        done = Task.objects.filter(job_id=damaged.job.id, ordinal__lt=saved)
        done.update(state="saved", accounted_at=deployment.clock())
        Dispatch.objects.filter(job_id=damaged.job.id).update(state=state, error="no more")
        apply(deployment, damaged.observation, replace(damaged.finding, outcome=state))
        assert audit(deployment, damaged.job.id).offences == ()
        return jobs.status_of(damaged.job.id)

    def test_a_failure_is_one_though_few_tasks_failed_and_passes_the_audit(self, deployment: Deployment) -> None:
        assert self.ended(deployment, JobState.FAILURE, saved=2) is JobState.FAILURE
        job_id = Task.objects.values_list("job_id", flat=True).first()
        assert ledger.counts(job_id).failed == 1
        assert set(Task.objects.filter(state="failed").values_list("error", flat=True)) == {
            "its dispatch ended as FAILURE: no more"
        }

    def test_a_revocation_is_one(self, deployment: Deployment) -> None:
        assert self.ended(deployment, JobState.REVOKED, saved=2) is JobState.REVOKED

    def test_a_success_with_a_task_open_is_none(self, deployment: Deployment) -> None:
        assert self.ended(deployment, JobState.SUCCESS, saved=2) is JobState.STARTED

    @pytest.mark.parametrize("state", [JobState.SUCCESS, JobState.FAILURE, JobState.REVOKED])
    def test_where_all_is_accounted_the_verdict_is_the_ledgers(self, deployment: Deployment, state: JobState) -> None:
        assert self.ended(deployment, state, saved=3) is JobState.SUCCESS

    def test_a_success_of_a_job_without_any_task_is_one(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.FOLLOW_DISPATCHER](deployment)
        Task.objects.all().delete()
        Job.objects.filter(pk=damaged.job.id).update(task_total=None, published_at=None)
        Dispatch.objects.filter(job_id=damaged.job.id).update(state="SUCCESS", error="")
        assert apply(deployment, damaged.observation, replace(damaged.finding, outcome=JobState.SUCCESS))
        assert jobs.status_of(damaged.job.id) is JobState.SUCCESS


@pytest.mark.django_db
class TestTooLate:
    """What the finding rests on has gone since."""

    def test_a_job_on_which_a_task_moved_is_not_revoked(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.REVOKE](deployment)
        claimed(deployment, damaged.job, 1)
        assert not applied(deployment, damaged)
        assert jobs.status_of(damaged.job.id) is JobState.STARTED

    def test_a_job_without_ledger_whose_progress_is_complete_is_not_revoked(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.FOLLOW_PROGRESS](deployment)
        hopeless = finding(Condition.STALLED, Remedy.REVOKE, JobState.REVOKED)
        assert not apply(deployment, damaged.observation, hopeless)
        assert jobs.status_of(damaged.job.id) is JobState.STARTED

    def test_a_job_whose_ledger_came_meanwhile_is_not_ended_by_its_progress(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        damaged = DAMAGE[Remedy.FOLLOW_PROGRESS](deployment)
        really = progress.of

        def of_a_job_that_is_collected_now(job_id: int) -> JobProgress:
            monkeypatch.setattr(progress, "of", really)
            ledger.collect(job_id, 0, [TaskSpec("1", {})])
            return really(job_id)

        monkeypatch.setattr(progress, "of", of_a_job_that_is_collected_now)
        assert not applied(deployment, damaged)
        assert jobs.status_of(damaged.job.id) is JobState.STARTED

    def test_a_state_that_is_counted_again_is_not_rebuilt(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.REBUILD_STATE](deployment)
        posted(deployment, damaged.job, [success(task) for task in claimed(deployment, damaged.job, 1)])
        assert not applied(deployment, damaged)

    def test_a_state_manager_that_is_away_is_rebuilt_once_it_is_back_and_told_of_then(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        damaged = DAMAGE[Remedy.REBUILD_STATE](deployment)
        with monkeypatch.context() as patched:
            patched.setattr(type(deployment.state), "snapshot", lambda *_: Unknown("connection refused"))
            with pytest.raises(EngineUnavailableError, match="connection refused"):
                applied(deployment, damaged)
        assert repair_events(damaged.job) == []
        assert applied(deployment, damaged)
        damaged.repaired()

    def test_tasks_that_the_queue_holds_again_are_not_put_in_twice(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.REPUBLISH](deployment)
        deployment.queue.publish(damaged.job.ref, range(5))
        assert not applied(deployment, damaged)

    def test_a_dispatch_that_was_taken_up_is_left_alone(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.RESUME_DISPATCH](deployment)
        deployment.dispatcher.enqueue(damaged.job.ref)
        assert not applied(deployment, damaged)

    def test_a_dispatch_that_was_taken_up_is_not_followed(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.FOLLOW_DISPATCHER](deployment)
        deployment.dispatcher.resume(damaged.job.ref)
        assert not applied(deployment, damaged)
        assert jobs.status_of(damaged.job.id) is JobState.STARTED

    def test_spent_tasks_under_a_lease_are_not_failed(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.FAIL_SPENT](deployment)
        ledger.begin_attempts(
            damaged.job.id,
            [0, 2],
            worker="w",
            leased_until=deployment.clock() + deployment.settings.ack_wait,
            max_attempts=99,
        )
        assert not applied(deployment, damaged)
        assert ledger.counts(damaged.job.id).leased == 2

    def test_spent_tasks_are_not_republished(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.FAIL_SPENT](deployment)
        deployment.queue.remove(damaged.job.ref)
        assert apply(deployment, damaged.observation, finding(Condition.LOST_TASKS, Remedy.REPUBLISH))
        assert [task.task.ordinal for task in claimed(deployment, damaged.job)] == [1, 3]

    def test_progress_is_not_believed_where_there_is_a_ledger(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.FINALISE](deployment)
        found = finding(Condition.FINISHED_NOT_FINALISED, Remedy.FOLLOW_PROGRESS, JobState.SUCCESS)
        assert not apply(deployment, damaged.observation, found)

    def test_incomplete_progress_ends_a_job_without_ledger_only_as_revoked(self, deployment: Deployment) -> None:
        damaged = DAMAGE[Remedy.FOLLOW_PROGRESS](deployment)
        from_progress = replace(damaged.finding, outcome=JobState.REVOKED)
        assert not apply(deployment, damaged.observation, from_progress), "the progress rows say that it is complete"
        assert jobs.status_of(damaged.job.id) is JobState.STARTED


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """Real threads, each as a health loop of its own, that all saw the same."""

    @pytest.fixture
    def deployment(self) -> Deployment:
        """With the system's clock: threads move no frozen one."""
        return build(HEADCOUNT, system_clock)

    @EVERY_REMEDY
    def test_of_many_loops_one_repairs(self, deployment: Deployment, remedy: Remedy) -> None:
        damaged = DAMAGE[remedy](deployment)
        loops = [build(HEADCOUNT, system_clock) for _ in range(6)]
        said = at_once([lambda loop=loop: applied(loop, damaged) for loop in loops])
        assert sorted(said) == [False] * 5 + [True]
        assert repair_events(damaged.job) == [event_name(remedy)]
        damaged.repaired()
