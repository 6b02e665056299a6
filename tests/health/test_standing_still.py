"""Who was seen working for a job, and how long it has stood still, from one look to the next."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from headcount.domain.records import JobRecord, Outcome
from headcount.domain.states import DispatchMode, JobState
from headcount.health.observation import LedgerTestimony, Patience, WorkersTestimony
from headcount.health.observe import observe, observe_many
from headcount.models import Job, JobPatience, Task
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger, registry
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH, PIPELINE, lease, make_job, make_started_job
from headcount.testing.faults import Fault
from tests.health.observed import ENGINES, clock, memory, running

__all__ = ["clock", "memory"]

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)


class TestWorkers:
    @pytest.fixture
    def job(self, deployment: Deployment) -> JobRecord:
        return make_started_job(4)

    def workers(self, deployment: Deployment, job: JobRecord) -> WorkersTestimony:
        found = observe(deployment, job.id).workers
        assert isinstance(found, WorkersTestimony)
        return found

    def test_nobody_was_ever_seen(self, deployment: Deployment, job: JobRecord):
        assert self.workers(deployment, job) == WorkersTestimony(0)

    def test_those_of_the_pipeline_and_the_project_count(self, deployment: Deployment, job: JobRecord):
        other = make_job()
        registry.worker_seen(job.project_id, "long ago", [PIPELINE], EPOCH - timedelta(minutes=6))
        assert self.workers(deployment, job) == WorkersTestimony(0, EPOCH - timedelta(minutes=6))
        registry.worker_seen(job.project_id, "lately", ["others", PIPELINE], EPOCH - timedelta(minutes=5))
        registry.worker_seen(job.project_id, "of another pipeline", ["others"], EPOCH)
        registry.worker_seen(other.project_id, "of another project", [PIPELINE], EPOCH)
        assert self.workers(deployment, job) == WorkersTestimony(1, EPOCH - timedelta(minutes=5))

    def test_a_claim_or_an_extension_is_a_sign_of_life(
        self, deployment: Deployment, job: JobRecord, clock: FrozenClock
    ):
        lease(job, [0])
        clock.advance(MINUTE)
        assert self.workers(deployment, job) == WorkersTestimony(1, EPOCH)
        ack_wait = deployment.settings.ack_wait
        ledger.extend_leases(job.id, [(0, 1)], clock() + ack_wait)
        clock.advance(4 * MINUTE)
        assert self.workers(deployment, job) == WorkersTestimony(1, EPOCH + MINUTE)
        clock.advance(2 * MINUTE)
        assert self.workers(deployment, job) == WorkersTestimony(0, EPOCH + MINUTE)

    def test_a_result_is_a_sign_of_life(self, deployment: Deployment, job: JobRecord, clock: FrozenClock):
        ledger.account(job.id, [Outcome(0, None, result={})], EPOCH)
        clock.advance(MINUTE)
        assert self.workers(deployment, job) == WorkersTestimony(1, EPOCH)

    def test_what_a_dispatcher_does_is_no_sign_of_a_worker(self, deployment: Deployment):
        job = make_started_job(4, dispatch_mode=DispatchMode.INTERNAL)
        lease(job, [0])
        assert self.workers(deployment, job) == WorkersTestimony(0)


MOVES: dict[str, Callable[[JobRecord], Any]] = {
    "a task is handed out": lambda job: lease(job, [5]),
    "a lease is extended": lambda job: ledger.extend_leases(job.id, [(2, 1)], EPOCH + timedelta(hours=1)),
    "a lease is given back": lambda job: ledger.release_leases(job.id, [(2, 1)]),
    "a result is saved": lambda job: ledger.account(job.id, [Outcome(9, None, result={})], EPOCH),
    "a task fails": lambda job: ledger.account(job.id, [Outcome(9, None, error="no")], EPOCH),
    "a task is collected": lambda job: Task.objects.create(job_id=job.id, ordinal=10, key="k10"),
    "the job moves on": lambda job: Job.objects.filter(pk=job.id).update(status=JobState.CANCELING),
}


class TestPatience:
    def looked_at(self, deployment: Deployment, job: JobRecord, **options: bool) -> Patience:
        return observe_many(deployment, [jobs.get(job.id)], **options)[0].patience

    def test_it_grows_from_look_to_look(self, deployment: Deployment, clock: FrozenClock):
        job = running(deployment)
        self.looked_at(deployment, job, remember=True)
        for minutes in (1, 2, 3):
            clock.advance(MINUTE)
            assert self.looked_at(deployment, job, remember=True).without_progress == minutes * MINUTE

    def test_a_diagnosis_writes_nothing(self, deployment: Deployment, clock: FrozenClock):
        job = running(deployment)
        self.looked_at(deployment, job)
        assert not JobPatience.objects.exists()
        self.looked_at(deployment, job, remember=True)
        before = JobPatience.objects.values().get()
        clock.advance(MINUTE)
        assert self.looked_at(deployment, job).without_progress == MINUTE
        assert JobPatience.objects.values().get() == before

    def test_a_night_without_a_health_loop_counts_as_one_step(self, deployment: Deployment, clock: FrozenClock):
        job = running(deployment)
        self.looked_at(deployment, job, remember=True)
        clock.advance(timedelta(hours=9))
        assert self.looked_at(deployment, job).without_progress == 2 * deployment.settings.health_interval

    @pytest.mark.parametrize("name", ENGINES)
    def test_it_stands_still_while_an_engine_is_silent(self, memory: Deployment, clock: FrozenClock, name: str):
        job = running(memory)
        self.looked_at(memory, job, remember=True)
        clock.advance(MINUTE)
        assert self.looked_at(memory, job, remember=True).without_progress == MINUTE
        getattr(memory, name).faults.down = True
        for _ in range(20):
            clock.advance(MINUTE)
            assert self.looked_at(memory, job, remember=True).without_progress == MINUTE
        getattr(memory, name).faults.down = False
        clock.advance(MINUTE)
        assert self.looked_at(memory, job, remember=True).without_progress == 2 * MINUTE

    @pytest.mark.parametrize("mode", DispatchMode)
    def test_it_stands_still_while_the_broker_is_away(self, memory: Deployment, clock: FrozenClock, mode: DispatchMode):
        job = running(memory, dispatch_mode=mode)
        self.looked_at(memory, job, remember=True)
        clock.advance(MINUTE)
        memory.dispatcher.faults.plan("reach_broker", Fault.UNAVAILABLE, times=20)
        for _ in range(20):
            assert self.looked_at(memory, job, remember=True) == Patience(moved_at=EPOCH)
            clock.advance(MINUTE)
        assert self.looked_at(memory, job, remember=True).without_progress == MINUTE, "it is there, and time counts"

    def test_an_engine_that_says_it_knows_nothing_is_not_silent(self, memory: Deployment, clock: FrozenClock):
        job = make_started_job(3)
        self.looked_at(memory, job, remember=True)
        clock.advance(MINUTE)
        assert self.looked_at(memory, job, remember=True).without_progress == MINUTE

    @pytest.mark.parametrize("move", MOVES)
    def test_it_is_forgiven_when_anything_moves(self, deployment: Deployment, clock: FrozenClock, move: str):
        job = running(deployment)
        self.looked_at(deployment, job, remember=True)
        clock.advance(MINUTE)
        MOVES[move](job)
        assert self.looked_at(deployment, job, remember=True) == Patience(moved_at=EPOCH + MINUTE)

    def test_a_lease_that_ends_is_no_progress(self, deployment: Deployment, clock: FrozenClock):
        job = running(deployment)
        self.looked_at(deployment, job, remember=True)
        clock.advance(MINUTE)
        deployment.queue.reclaim_expired(clock())
        seen = observe_many(deployment, [job], remember=True)[0]
        assert isinstance(seen.ledger, LedgerTestimony)
        assert seen.ledger.leases_end_at is None
        assert seen.patience.without_progress == MINUTE

    def test_a_job_that_nobody_serves_is_told_apart(self, deployment: Deployment, clock: FrozenClock):
        waiting, internal = make_started_job(3), make_started_job(3, dispatch_mode=DispatchMode.INTERNAL)
        collecting = make_job()
        page = [waiting, internal, collecting]
        observe_many(deployment, page, remember=True)
        clock.advance(MINUTE)
        unserved = [seen.patience.without_workers for seen in observe_many(deployment, page, remember=True)]
        assert unserved == [MINUTE, timedelta(0), timedelta(0)]
        registry.worker_seen(waiting.project_id, "w1", [PIPELINE], clock())
        assert observe_many(deployment, page, remember=True)[0].patience.without_workers == timedelta(0)

    def test_another_run_begins_anew(self, deployment: Deployment, clock: FrozenClock):
        job = running(deployment)
        self.looked_at(deployment, job, remember=True)
        clock.advance(MINUTE)
        Job.objects.filter(pk=job.id).update(run=2)
        assert self.looked_at(deployment, job, remember=True) == Patience(moved_at=clock())
        assert JobPatience.objects.get().run == 2
