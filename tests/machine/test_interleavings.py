"""Interleavings and ill fortune that are too rare for chance to find often, each pinned down."""

from datetime import timedelta

import pytest

from headcount.domain.records import JobRecord, JobRef, TaskCounts
from headcount.domain.states import DispatchMode, JobState, LeaseStatus, Redo
from headcount.flow import collect as collecting
from headcount.flow import finalise, leases
from headcount.flow.collect import collect
from headcount.health.finding import Policy
from headcount.models import Job
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger
from headcount.testing.faults import Fault, ProcessDied
from tests.machine import invariants, service
from tests.machine.world import SETTINGS, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_steps")]


def submitted(world: World, tasks: int, mode: DispatchMode = DispatchMode.ASYNC_API) -> int:
    world.submit(tasks, mode, 0.5, ())
    return world.job_ids[-1]


def started(world: World, tasks: int) -> int:
    job_id = submitted(world, tasks)
    world.dispatch()
    return job_id


def ends_well(world: World) -> None:
    world.drain()
    invariants.check(world, {})
    invariants.check_end(world)


class TestTwoDispatchers:
    @pytest.mark.parametrize("second_begins_at", range(4))
    @pytest.mark.parametrize("second_dies_at", range(5))
    def test_one_that_begins_in_the_midst_of_another_changes_no_total(
        self, world: World, second_begins_at: int, second_dies_at: int
    ) -> None:
        job_id = submitted(world, 6)
        own, others = iter(range(10)), iter(range(10))

        def second_checkpoint() -> None:
            if next(others) == second_dies_at:
                raise ProcessDied

        def first_checkpoint() -> None:
            if next(own) == second_begins_at:
                world.survive(lambda: collect(world.deployment, jobs.get(job_id), second_checkpoint))

        collect(world.deployment, jobs.get(job_id), first_checkpoint)
        assert (jobs.get(job_id).task_total, ledger.counts(job_id).total) == (6, 6)
        ends_well(world)


class TestEnds:
    @pytest.mark.parametrize("point", ["checkpoint", "initialise", "publish"])
    @pytest.mark.parametrize("passed", range(8))
    def test_a_job_cancelled_in_the_midst_of_its_dispatch_leaves_nothing_behind(
        self, world: World, point: str, passed: int
    ) -> None:
        job_id = submitted(world, 6)
        for _ in range(passed):
            world.between(point, lambda: None)
        world.between(point, lambda: world.cancel(job_id))
        world.dispatch()
        world.cancel(job_id)
        assert jobs.status_of(job_id) is JobState.REVOKED
        ends_well(world)

    @pytest.mark.parametrize("point", ["depth", "publish"])
    def test_a_job_that_ends_while_its_lost_tasks_are_put_in_again_leaves_nothing_behind(
        self, world: World, point: str
    ) -> None:
        job_id = started(world, 2)
        world.queue.lose_everything()
        world.between(point, lambda: world.give_up(job_id))
        world.tick()
        assert jobs.status_of(job_id) is JobState.REVOKED
        ends_well(world)

    def test_a_job_that_ends_while_its_state_is_rebuilt_leaves_nothing_behind(self, world: World) -> None:
        job_id = started(world, 2)
        held = world.claim(job_id, 2)[0]
        world.state.lose_everything()
        world.between("rebuild_from", lambda: world.cancel(job_id))
        world.post(job_id, [(held, "note")])
        assert jobs.status_of(job_id) is JobState.REVOKED
        ends_well(world)

    def test_nothing_is_collected_once_the_job_was_cancelled(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = submitted(world, 6)
        real_write = collecting._write

        def cancel_and_write(*call):
            monkeypatch.setattr(collecting, "_write", real_write)
            world.cancel(job_id)
            return real_write(*call)

        monkeypatch.setattr(collecting, "_write", cancel_and_write)
        world.dispatch()
        assert ledger.counts(job_id) == TaskCounts()
        ends_well(world)

    def test_giving_up_loses_against_the_last_result(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id = started(world, 1)
        held = world.claim(job_id, 1)[0]
        world.state.faults.plan("account", Fault.UNAVAILABLE)
        really_finalise = finalise.finalise

        def finalise_before_the_last_result(
            deployment: Deployment, ref: JobRef, _: finalise.VerdictNote | None
        ) -> bool:
            monkeypatch.setattr(finalise, "finalise", really_finalise)
            assert not really_finalise(deployment, ref)
            world.post(job_id, [(held, "note")])
            assert not jobs.get(job_id).is_final
            return False

        monkeypatch.setattr(finalise, "finalise", finalise_before_the_last_result)
        world.give_up(job_id)
        assert jobs.status_of(job_id) is JobState.SUCCESS
        ends_well(world)

    def test_a_job_of_a_kind_that_is_gone_keeps_no_other_from_ending(self, world: World) -> None:
        gone, fine = started(world, 1), started(world, 1)
        for job_id in (gone, fine):
            world.state.faults.plan("account", Fault.UNAVAILABLE)
            world.post(job_id, [(world.claim(job_id, 1)[0], "note")])
        Job.objects.filter(pk=gone).update(kind="gone")
        world.clock.advance(Policy().finish_within)
        world.tick()
        assert [jobs.status_of(job_id) for job_id in (gone, fine)] == [JobState.STARTED, JobState.SUCCESS]


class TestLeases:
    @pytest.fixture
    def job(self, world: World) -> JobRecord:
        return jobs.get(started(world, 1))

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_stale_and_the_current_one_in_one_request(self, world: World, job: JobRecord, order: int) -> None:
        stale = world.claim(job.id, 1)[0]
        world.clock.advance(timedelta(seconds=31))
        current = world.claim(job.id, 1)[0]
        tokens = [stale.token, current.token][::order]
        extended = leases.extend(world.deployment, world.project_id, tokens)
        assert [answer.status for answer in extended] == [LeaseStatus.STALE, LeaseStatus.EXTENDED][::order]
        released = leases.release(world.deployment, world.project_id, tokens)
        statuses = {answer.reply_subject: answer.status for answer in released}
        assert statuses == {stale.token: LeaseStatus.STALE, current.token: LeaseStatus.RELEASED}
        ends_well(world)

    def test_a_failure_of_the_current_attempt_counts_beside_that_of_a_stale_one(
        self, world: World, job: JobRecord
    ) -> None:
        stale = world.claim(job.id, 1)[0]
        world.clock.advance(timedelta(seconds=31))
        current = world.claim(job.id, 1)[0]
        world.post(job.id, [(stale, "error"), (current, "error")])
        assert ledger.counts(job.id) == TaskCounts(failed=1)

    @pytest.mark.parametrize("word", ["note", "error"])
    def test_a_result_beside_one_of_another_task_is_not_called_done(
        self, world: World, job: JobRecord, word: str
    ) -> None:
        held = world.claim(job.id, 1)[0]
        world.post(job.id, [(held, "note of another task"), (held, word)])
        assert ledger.counts(job.id) == TaskCounts(leased=1)
        ends_well(world)


class TestInternalWork:
    @pytest.mark.parametrize("clock_moves_by", [timedelta(0), -timedelta(hours=1)])
    def test_a_dispatcher_that_dies_until_the_attempts_are_spent(self, world: World, clock_moves_by: timedelta) -> None:
        job_id = submitted(world, 2, DispatchMode.INTERNAL)
        for _ in range(SETTINGS.max_attempts):
            world.kind.save_ends.append(ProcessDied())
            world.dispatch()
            world.dispatcher.forget_holders()
        world.move_clock(clock_moves_by)
        world.dispatch()
        assert (jobs.status_of(job_id), ledger.counts(job_id)) == (JobState.FAILURE, TaskCounts(failed=2))


def test_a_result_that_comes_while_a_lost_state_is_rebuilt_is_counted_too() -> None:
    world = World()
    job_id = started(world, tasks=2)
    one, other = world.claim(job_id, 2)
    world.state.lose_everything()
    world.between("rebuild_from", lambda: world.post(job_id, [(other, "note")]))
    world.post(job_id, [(one, "note")])
    assert jobs.get(job_id).state is JobState.SUCCESS
    ends_well(world)


def test_a_failure_of_the_run_before_that_was_counted_there_is_not_told_of_the_next() -> None:
    """Its worker posts it once more; the retry begins before the state manager answers that it knows no such run."""
    world = World()
    job_id = started(world, tasks=2)
    one, other = world.claim(job_id, 2)
    world.post(job_id, [(one, "error"), (other, "error")])
    assert jobs.get(job_id).state is JobState.FAILURE
    world.between("account", lambda: (world.retry(job_id, Redo.FAILED), world.dispatch()))
    world.post(job_id, [(one, "error")])
    assert (jobs.get(job_id).run, jobs.get(job_id).state) == (2, JobState.STARTED)
    invariants.check(world, {})
    ends_well(world)


class TestPushed:
    """What others do while the dispatcher waits for a push service, however that answers then."""

    @pytest.mark.parametrize("answer", service.ANSWERS)
    @pytest.mark.parametrize("act", ["nothing", "second dispatcher", "cancel", "give up", "flush", "tick", "expire"])
    def test_nothing_is_lost_or_counted_twice(self, world: World, act: str, answer: str) -> None:
        job_id = submitted(world, 5, DispatchMode.SYNC_API)
        acts = {
            "nothing": lambda: None,
            "second dispatcher": lambda: world.run_beside(job_id),
            "cancel": lambda: world.cancel(job_id),
            "give up": lambda: world.give_up(job_id),
            "flush": world.state.lose_everything,
            "tick": world.tick,
            "expire": lambda: world.move_clock(SETTINGS.longest_lease),
        }
        world.service.planned += ["note", answer, answer]
        world.between("process", lambda: None)
        world.between("process", acts[act])
        world.dispatch()
        ends_well(world)
        ended = jobs.get(job_id)
        assert ended.state is not JobState.REVOKED or act in {"cancel", "give up"}
        assert ended.state is JobState.REVOKED or ledger.counts(job_id).saved >= 2

    @pytest.mark.parametrize(
        ("answer", "saved"), [("note", 5), ("twice", 5), ("error", 2), ("poison", 2), ("unfit", 2), ("refused", 2)]
    )
    def test_what_is_answered_is_not_asked_for_again(self, world: World, answer: str, saved: int) -> None:
        job_id = submitted(world, 5, DispatchMode.SYNC_API)
        world.service.planned += ["note", answer, answer]
        world.dispatch()
        assert world.service.asked == [["k0", "k1"], ["k2", "k3"], ["k4"]]
        assert ledger.counts(job_id) == TaskCounts(saved=saved, failed=5 - saved)
        ends_well(world)
