"""Retrying: the next run does what is not done, and nothing of the run before is lost or counts against it."""

from dataclasses import replace

import pytest

from headcount.domain.lease_token import verify
from headcount.domain.records import JobRef, StageProgress
from headcount.domain.states import DispatchMode, Redo, Stage
from headcount.errors import ConflictError, NotFoundError
from headcount.flow.cancel import cancel
from headcount.flow.finalise import give_up
from headcount.flow.leases import extend, release
from headcount.flow.receive import receive
from headcount.flow.relay import relay
from headcount.flow.retry import retry
from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.health.audit import audit
from headcount.models import OutboxEntry
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger, progress
from headcount.testing.factories import make_project
from headcount.testing.kinds import NoteKind
from tests.flow.given import (
    assert_saved_exactly,
    claimed,
    dispatched,
    events_named,
    failure,
    posted,
    project,
    submitted,
    success,
)

pytestmark = pytest.mark.django_db


def ended(deployment, saved=2, failed=3, **options):
    """A job that ended FAILURE with so many tasks saved and failed, the saved ones first."""
    job = dispatched(deployment, saved + failed, failure_threshold=0.1, **options)
    tasks = claimed(deployment, job)
    posted(deployment, job, [*map(success, tasks[:saved]), *map(failure, tasks[saved:])])
    assert jobs.get(job.id).status == "FAILURE"
    return jobs.get(job.id), tasks


def retried(deployment, job, only=Redo.FAILED):
    """The next run, collected and published."""
    following = retry(deployment, job.id, only)
    run_job(deployment, following.ref)
    return jobs.get(job.id)


def verdicts(job):
    return [(item.run, item.status, item.counts.saved, item.counts.failed) for item in jobs.certificates(job.id)]


def test_the_next_run_does_the_failed_tasks_alone_and_its_verdict_is_over_all(deployment):
    job, _ = ended(deployment, saved=2, failed=3)
    following = retried(deployment, job)
    assert (following.run, following.status, following.finished_at) == (2, "STARTED", None)
    tasks = claimed(deployment, following)
    assert [task.task.ordinal for task in tasks] == [2, 3, 4]
    assert posted(deployment, following, [success(task) for task in tasks]) == ["saved"] * 3
    assert verdicts(job) == [(1, "FAILURE", 2, 3), (2, "SUCCESS", 5, 0)]
    assert jobs.get(job.id).status == "SUCCESS"
    assert_saved_exactly(job.ref, 10)
    assert audit(deployment, job.id).offences == ()
    for run in (1, 2):
        assert deployment.queue.depth(JobRef(job.id, run)).pending == 0
        assert deployment.state.all_tasks_processed(JobRef(job.id, run)) is None


def test_a_retry_that_fails_again_is_a_failure_of_its_own_run_and_can_be_retried_again(deployment):
    job, _ = ended(deployment)
    for run in (2, 3):
        following = retried(deployment, job)
        posted(deployment, following, [failure(task) for task in claimed(deployment, following)])
        assert verdicts(job)[-1] == (run, "FAILURE", 2, 3)
    assert audit(deployment, job.id).offences == ()


def test_a_retry_is_written_down_with_its_evidence(deployment):
    job, _ = ended(deployment)
    retry(deployment, job.id)
    (event,) = events_named(job, "job.retried")
    assert (event.run, event.message) == (2, "run 2: 3 tasks are to be done")
    assert (event.evidence["ended"], event.evidence["only"]) == ("FAILURE", "failed")
    assert (event.evidence["ledger"]["saved"], event.evidence["ledger"]["waiting"]) == (2, 3)


def test_progress_starts_anew_with_what_is_saved(deployment):
    job, _ = ended(deployment)
    assert progress.of(job.id).stage(Stage.PROCESS) == StageProgress(Stage.PROCESS, 5, 2, 3)
    retry(deployment, job.id)
    assert progress.of(job.id).stages == (
        StageProgress(Stage.COLLECT, 5, 5),
        StageProgress(Stage.PROCESS, 5, 2),
        StageProgress(Stage.RESULTS, 5, 2),
    )


def test_the_state_manager_of_the_next_run_knows_what_is_saved(deployment):
    job, _ = ended(deployment)
    following = retried(deployment, job)
    known = deployment.state.snapshot(following.ref)
    assert [(stage.total, stage.done, stage.failed) for stage in known.stages] == [(5, 2, 0)] * 2


def test_attempts_are_counted_anew(deployment):
    job, _ = ended(deployment)
    following = retried(deployment, job)
    limit = deployment.settings.max_attempts
    for _ in range(limit):
        tasks = claimed(deployment, following)
        assert len(tasks) == 3
        deployment.clock.advance(deployment.settings.ack_wait * 2)
    assert claimed(deployment, following) == []
    assert verdicts(job)[-1] == (2, "FAILURE", 2, 3)


@pytest.fixture
def late(deployment):
    """A job that was given up with two leased tasks and retried: its second run, and the leases of the first."""
    job = dispatched(deployment, 2)
    tasks = claimed(deployment, job)
    give_up(deployment, job.ref, "nobody is left")
    return retried(deployment, job), tasks


def test_a_late_success_of_the_run_before_is_welcome_while_its_task_is_open(deployment, late):
    job, (one, other) = late
    assert posted(deployment, job, [success(one)]) == ["saved"]
    assert [task.task.ordinal for task in claimed(deployment, job)] == [1]
    assert posted(deployment, job, [success(other), success(one)]) == ["saved", "duplicate"]
    assert verdicts(job) == [(1, "REVOKED", 0, 0), (2, "SUCCESS", 2, 0)]
    assert audit(deployment, job.id).offences == ()


def test_a_late_failure_of_the_run_before_never_counts(deployment, late):
    job, tasks = late
    assert posted(deployment, job, [failure(task) for task in tasks]) == ["stale", "stale"]
    current = claimed(deployment, job)
    assert posted(deployment, job, [failure(task) for task in tasks]) == ["stale", "stale"]
    assert ledger.counts(job.id).leased == 2
    assert posted(deployment, job, [success(task) for task in current]) == ["saved", "saved"]


@pytest.mark.parametrize("ask", [extend, release])
def test_a_lease_of_the_run_before_is_neither_extended_nor_released(deployment, late, ask):
    job, tasks = late
    claimed(deployment, job)
    answers = ask(deployment, job.project_id, [task.token for task in tasks])
    assert [answer.status for answer in answers] == ["stale", "stale"]
    assert deployment.queue.depth(job.ref).in_flight == 2


class Told:
    """Stands before a queue and keeps what it was told about deliveries."""

    def __init__(self, queue):
        self._queue = queue
        self.said = []

    def __getattr__(self, name):
        method = getattr(self._queue, name)
        if name not in {"acknowledge", "extend", "release"}:
            return method

        def tell(job, deliveries, **options):
            self.said.append((name, job, [delivery.sequence for delivery in deliveries]))
            return method(job, deliveries, **options)

        return tell


def test_the_queue_hears_of_deliveries_of_the_current_run_alone(deployment: Deployment, late):
    job, (old, _) = late
    listening = replace(deployment, queue=Told(deployment.queue))
    (new, _) = claimed(deployment, job)
    sequence = verify(new.token, deployment.lease_key).sequence
    assert posted(listening, job, [failure(old)]) == ["stale"]
    assert posted(listening, job, [success(old)]) == ["saved"]
    assert listening.queue.said == []
    assert posted(listening, job, [success(new)]) == ["duplicate"]
    assert listening.queue.said == [("acknowledge", job.ref, [sequence])]


def test_both_tokens_of_one_task_in_one_request_settle_the_delivery_of_this_run(deployment, late):
    job, (old, _) = late
    listening = replace(deployment, queue=Told(deployment.queue))
    (new, _) = claimed(deployment, job)
    sequence = verify(new.token, deployment.lease_key).sequence
    assert sorted(posted(listening, job, [success(new), success(old)])) == ["duplicate", "saved"]
    assert listening.queue.said == [("acknowledge", job.ref, [sequence])]


def reads_once(monkeypatch, job):
    """Have the next look at a job find it as it was."""
    looks, get = iter([job]), jobs.get
    monkeypatch.setattr("headcount.store.jobs.get", lambda *which: next(looks, None) or get(*which))


def test_a_worker_that_read_the_run_before_tells_nobody_of_it(deployment, monkeypatch):
    """It read the job before the retry and posts a failure that counted in the run that is over."""
    job, tasks = ended(deployment, saved=1, failed=2)
    following = retried(deployment, job)
    reads_once(monkeypatch, job)
    answers = receive(deployment, job.id, job.project_id, [failure(task) for task in tasks[1:]])
    assert [answer.status for answer in answers] == ["stale", "stale"]
    known = deployment.state.snapshot(following.ref)
    assert [(stage.done, stage.failed) for stage in known.stages] == [(1, 0)] * 2
    assert progress.of(job.id).stage(Stage.PROCESS) == StageProgress(Stage.PROCESS, 3, 1)


def test_a_success_of_one_who_read_the_run_before_counts_in_the_run_that_is_on(deployment, late, monkeypatch):
    job, tasks = late
    before = replace(job, run=1, status="STARTED")
    reads_once(monkeypatch, before)
    assert posted(deployment, job, [success(task) for task in tasks]) == ["saved", "saved"]
    assert verdicts(job) == [(1, "REVOKED", 0, 0), (2, "SUCCESS", 2, 0)]
    assert deployment.state.all_tasks_processed(before.ref) is None


def test_the_clean_up_of_the_run_before_does_not_harm_the_next(deployment, late):
    job, _ = late
    OutboxEntry.objects.filter(job_id=job.id, run=1, topic="clean_up").update(delivered_at=None)
    assert relay(deployment) == 1
    assert deployment.queue.depth(job.ref).pending == 2
    assert deployment.state.all_tasks_processed(job.ref) is False


def test_a_dispatcher_of_the_run_before_does_not_harm_the_next(deployment, late):
    job, tasks = late
    run_job(deployment, JobRef(job.id, 1))
    assert (jobs.get(job.id).status, ledger.counts(job.id).waiting) == ("STARTED", 2)
    assert deployment.queue.depth(job.ref).pending == 2
    give_up(deployment, JobRef(job.id, 1), "the dispatch failed")
    assert jobs.get(job.id).status == "STARTED"
    assert posted(deployment, job, [success(task) for task in tasks]) == ["saved", "saved"]


def test_the_unfinished_tasks_of_a_cancelled_job_are_taken_up_on_request(deployment):
    job = dispatched(deployment, 4)
    tasks = claimed(deployment, job)
    posted(deployment, job, [success(tasks[0])])
    cancel(deployment, job.id)
    with pytest.raises(ConflictError, match="retry it as unfinished to take up the 3 that were cancelled"):
        retry(deployment, job.id)
    assert (jobs.get(job.id).run, jobs.get(job.id).status) == (1, "REVOKED")
    following = retried(deployment, job, Redo.UNFINISHED)
    assert following.set_aside == 0
    posted(deployment, following, [success(task) for task in claimed(deployment, following)])
    assert verdicts(job) == [(1, "REVOKED", 1, 0), (2, "SUCCESS", 4, 0)]


def test_cancelled_tasks_that_stay_so_do_not_keep_the_next_run_from_ending(deployment):
    job = dispatched(deployment, 4, failure_threshold=0.5)
    tasks = claimed(deployment, job)
    posted(deployment, job, [success(tasks[0]), failure(tasks[1])])
    cancel(deployment, job.id)
    following = retried(deployment, job)
    assert following.set_aside == 2
    (task,) = claimed(deployment, following)
    posted(deployment, following, [success(task)])
    (_, certificate) = jobs.certificates(job.id)
    assert (certificate.status, certificate.counts.saved, certificate.counts.cancelled) == ("SUCCESS", 2, 2)
    assert audit(deployment, job.id).offences == ()


def test_a_job_cancelled_before_its_dispatch_is_collected_by_its_retry(deployment):
    job = submitted(deployment, 3)
    cancel(deployment, job.id)
    run_job(deployment, job.ref)
    following = retried(deployment, job, Redo.UNFINISHED)
    assert (following.task_total, ledger.counts(job.id).waiting) == (3, 3)
    posted(deployment, following, [success(task) for task in claimed(deployment, following)])
    assert verdicts(job) == [(1, "REVOKED", 0, 0), (2, "SUCCESS", 3, 0)]


def test_a_job_cancelled_in_mid_collect_is_retried_as_a_whole_or_not_at_all(deployment, monkeypatch):
    monkeypatch.setattr("headcount.flow.collect.CHUNK", 2)
    job = submitted(deployment, 3)
    calls = iter(range(100))
    run_job(deployment, job.ref, lambda: next(calls) == 1 and cancel(deployment, job.id))
    assert ledger.counts(job.id).cancelled == 2
    with pytest.raises(ConflictError, match="was cancelled before it was collected whole; retry it as unfinished"):
        retry(deployment, job.id)
    following = retried(deployment, job, Redo.UNFINISHED)
    posted(deployment, following, [success(task) for task in claimed(deployment, following)])
    assert verdicts(job)[-1] == (2, "SUCCESS", 3, 0)
    assert audit(deployment, job.id).offences == ()


def test_a_job_that_runs_cannot_be_retried(deployment):
    job = dispatched(deployment, 1)
    with pytest.raises(ConflictError, match="is STARTED: only a job that has ended can be retried"):
        retry(deployment, job.id)


@pytest.mark.parametrize("only", Redo)
@pytest.mark.parametrize("tasks", [0, 2])
def test_a_job_that_is_done_has_nothing_to_retry(deployment, only, tasks):
    job = dispatched(deployment, tasks)
    posted(deployment, job, [success(task) for task in claimed(deployment, job)])
    with pytest.raises(ConflictError, match=f"nothing to retry: all of its {tasks} tasks are saved; submit a new job"):
        retry(deployment, job.id, only)
    assert (jobs.get(job.id).run, jobs.get(job.id).status) == (1, "SUCCESS")


def test_a_job_of_another_project_cannot_be_retried(deployment):
    job, _ = ended(deployment)
    with pytest.raises(NotFoundError):
        retry(deployment, job.id, project_id=project("bees"))
    assert jobs.get(job.id).status == "FAILURE"


class MendedKind(NoteKind):
    """Breaks until it is mended."""

    broken = True

    def process(self, job, task):
        if self.broken and task.ordinal % 2:
            raise ValueError("it is broken")
        return super().process(job, task)


def test_an_internal_job_is_retried_by_its_dispatcher(deployment):
    kind = MendedKind()
    deployment = replace(deployment, kinds={"note": kind})
    request = JobRequest(make_project(), "note", DispatchMode.INTERNAL, config={"tasks": 6}, failure_threshold=0.2)
    job = submit(deployment, request)
    run_job(deployment, job.ref)
    assert verdicts(job) == [(1, "FAILURE", 3, 3)]
    kind.broken = False
    retried(deployment, job)
    assert verdicts(job) == [(1, "FAILURE", 3, 3), (2, "SUCCESS", 6, 0)]
    assert audit(deployment, job.id).offences == ()


def test_a_failure_of_internal_work_of_the_run_before_never_counts(deployment):
    """Its dispatcher was only thought dead: it is in the midst of a task while the next run begins."""

    class SlowKind(MendedKind):
        def process(self, job, task):
            if job.run == 1:
                give_up(deployment, job.ref, "the dispatch failed")
                retry(deployment, job.id)
            return super().process(job, task)

    kind = SlowKind()
    deployment = replace(deployment, kinds={"note": kind})
    request = JobRequest(make_project(), "note", DispatchMode.INTERNAL, config={"tasks": 2}, failure_threshold=0.2)
    job = submit(deployment, request)
    run_job(deployment, job.ref)
    counts = ledger.counts(job.id)
    assert (jobs.get(job.id).run, counts.failed, counts.open + counts.saved) == (2, 0, 2)
    kind.broken = False
    run_job(deployment, jobs.get(job.id).ref)
    assert verdicts(job)[-1] == (2, "SUCCESS", 2, 0)
