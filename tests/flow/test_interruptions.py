"""A dispatcher stopped or killed between any two steps, and the one that takes the run up after it."""

from collections.abc import Callable

import pytest

from headcount.domain.records import TaskSpec
from headcount.domain.states import DispatchMode
from headcount.errors import BadInputError, DispatchInterruptedError, PermanentError
from headcount.flow import collect, publish, work
from headcount.flow.run_job import abandon_job, run_job
from headcount.flow.submit import JobRequest, submit
from headcount.models import Task
from headcount.ports.job_kind import JobKind
from headcount.store import jobs, ledger
from headcount.wiring import build_runner
from tests.flow.given import (
    assert_ended,
    claimed,
    dispatched,
    posted,
    project,
    submitted,
    success,
    with_settings,
)

pytestmark = pytest.mark.django_db


class KilledError(BaseException):
    """The process is gone: nothing that catches errors gets to see it."""


class Squares(JobKind):
    """Internal: squares its ordinals and remembers what was done how often."""

    name = "squares"
    dispatch_modes = frozenset({DispatchMode.INTERNAL})

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.processed: list[str] = []
        self.saved: dict[str, int] = {}
        self.before_processing: Callable[[str], None] = lambda key: None

    def collect(self, job):
        return [TaskSpec(str(n)) for n in range(self.tasks)]

    def process(self, job, task):
        self.before_processing(task.key)
        self.processed.append(task.key)
        return int(task.key) ** 2

    def save(self, job, results):
        self.saved |= {item.key: item.result for item in results}


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr(collect, "CHUNK", 3)
    monkeypatch.setattr(publish, "CHUNK", 4)
    monkeypatch.setattr(work, "BATCH", 3)


@pytest.fixture
def squares(deployment):
    kind = Squares(10)
    deployment.kinds[kind.name] = kind
    return kind


def killed_at(number):
    """A checkpoint that kills its dispatcher when it is passed for the ``number``-th time."""
    left = iter(range(number, -1, -1))

    def checkpoint():
        if next(left) == 0:
            raise KilledError

    return checkpoint


def was_killed_at(deployment, job, number):
    """Dispatch a job and kill the dispatcher at a checkpoint; tells whether there is such a checkpoint."""
    try:
        run_job(deployment, job.ref, killed_at(number))
    except KilledError:
        assert jobs.get(job.id).status == "STARTED"
        return True
    return False


def killed_once_at_every_checkpoint(deployment, submit_one):
    """A job for each checkpoint: its dispatcher was killed there, and another took it up."""
    made = []
    for number in range(100):
        job = submit_one(deployment)
        if not was_killed_at(deployment, job, number):
            return made
        run_job(deployment, job.ref)
        made.append(jobs.get(job.id))
    return pytest.fail("the dispatch never came to its end")


def killed_after(monkeypatch, place, name, number):
    """Kill the process after the ``number``-th call of a function has taken effect."""
    calls = iter(range(1, 1000))
    function = getattr(place, name)

    def call_and_die(*arguments, **options):
        outcome = function(*arguments, **options)
        if next(calls) == number:
            raise KilledError
        return outcome

    monkeypatch.setattr(place, name, call_and_die)


def submitted_squares(deployment):
    return submit(deployment, JobRequest(project(), "squares"))


def test_a_dispatch_killed_at_any_checkpoint_collects_and_publishes_each_task_once(deployment):
    made = killed_once_at_every_checkpoint(deployment, lambda deployment: submitted(deployment, 10))
    assert len(made) >= 7, "four chunks are collected, three published"
    for job in made:
        tasks = claimed(deployment, job)
        assert [(task.task.ordinal, task.task.attempt) for task in tasks] == [(n, 1) for n in range(10)]
        assert len({task.task.key for task in tasks}) == 10
        posted(deployment, job, [success(task) for task in tasks])
        assert_ended(deployment, job, "SUCCESS", saved=10)


def test_a_dispatch_killed_again_and_again_still_comes_to_its_end(deployment):
    job = submitted(deployment, 10)
    assert sum(was_killed_at(deployment, job, number) for number in range(10)) >= 4
    tasks = claimed(deployment, job)
    assert [(task.task.ordinal, task.task.attempt) for task in tasks] == [(n, 1) for n in range(10)]


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_a_dispatch_killed_right_after_a_chunk_was_collected_goes_on_behind_it(deployment, monkeypatch, chunk):
    job = submitted(deployment, 10)
    with monkeypatch.context() as patch:
        killed_after(patch, collect, "_write", chunk)
        with pytest.raises(KilledError):
            run_job(deployment, job.ref)
    assert jobs.get(job.id).task_total is None, "a part never looks like the whole"
    assert claimed(deployment, job) == []
    before = list(Task.objects.filter(job_id=job.id).order_by("ordinal").values_list("id", "ordinal", "key"))
    assert len(before) == min(3 * chunk, 10)
    run_job(deployment, job.ref)
    after = list(Task.objects.filter(job_id=job.id).order_by("ordinal").values_list("id", "ordinal", "key"))
    assert after[: len(before)] == before
    assert [ordinal for _, ordinal, _ in after] == list(range(10))
    assert jobs.get(job.id).task_total == 10


def test_a_job_whose_kind_yields_a_key_twice_is_ended_with_the_reason(deployment, squares, monkeypatch):
    monkeypatch.setattr(squares, "collect", lambda job: [TaskSpec(str(n % 5)) for n in range(10)])
    job = submitted_squares(deployment)
    assert build_runner(deployment).run_one()
    ended = jobs.get(job.id)
    assert (ended.status, ended.task_total) == ("REVOKED", None)
    (certificate,) = jobs.certificates(job.id)
    assert "the kind 'squares' yields a key twice" in certificate.reason


def test_workers_that_finish_a_half_published_job_do_not_upset_the_dispatcher_that_resumes(deployment, monkeypatch):
    job = submitted(deployment, 10)
    with monkeypatch.context() as patch:
        killed_after(patch, type(deployment.queue), "publish", 1)
        with pytest.raises(KilledError):
            run_job(deployment, job.ref)
    tasks = claimed(deployment, job)
    assert len(tasks) == 4
    posted(deployment, job, [success(task) for task in tasks])
    run_job(deployment, job.ref)
    rest = claimed(deployment, job)
    assert [task.task.ordinal for task in rest] == list(range(4, 10))
    posted(deployment, job, [success(task) for task in rest])
    assert_ended(deployment, job, "SUCCESS", saved=10)


def test_an_internal_job_does_every_task_and_ends(deployment, squares):
    job = submitted_squares(deployment)
    run_job(deployment, job.ref)
    assert squares.saved == {str(n): n**2 for n in range(10)}
    assert_internal_end(deployment, job, "SUCCESS", saved=10)


def test_an_internal_job_killed_at_any_checkpoint_does_each_task_once(deployment, squares):
    for job in killed_once_at_every_checkpoint(deployment, submitted_squares):
        assert_internal_end(deployment, job, "SUCCESS", saved=10)
    jobs_done = squares.processed.count("0")
    assert jobs_done >= 9, "four chunks are collected, four batches done"
    assert {squares.processed.count(str(n)) for n in range(10)} == {jobs_done}


def test_an_internal_job_killed_in_mid_batch_does_only_that_batch_again(deployment, squares):
    job = submitted_squares(deployment)
    squares.before_processing = killed_on("4")
    with pytest.raises(KilledError):
        run_job(deployment, job.ref)
    squares.before_processing = lambda key: None
    run_job(deployment, job.ref)
    assert squares.processed.count("3") == 2
    assert {squares.processed.count(str(n)) for n in range(10) if n != 3} == {1}
    assert_internal_end(deployment, job, "SUCCESS", saved=10)


def test_an_internal_task_that_kills_its_dispatcher_each_time_fails_after_its_attempts(deployment, squares):
    deployment = with_settings(deployment, max_attempts=3)
    squares.before_processing = killed_on("4")
    job = submitted_squares(deployment)
    for _ in range(3):
        with pytest.raises(KilledError):
            run_job(deployment, job.ref)
    run_job(deployment, job.ref)
    assert_internal_end(deployment, job, "SUCCESS", saved=7, failed=3)


def test_an_internal_task_that_fails_keeps_no_other_from_being_done(deployment, squares):
    job = submitted_squares(deployment)
    squares.before_processing = refused_on("4")
    run_job(deployment, job.ref)
    assert Task.objects.get(job_id=job.id, state="failed").error == "no number"
    assert_internal_end(deployment, job, "SUCCESS", saved=9, failed=1)


def killed_on(key):
    def before(processed):
        if processed == key:
            raise KilledError

    return before


def refused_on(key):
    def before(processed):
        if processed == key:
            raise BadInputError("no number")

    return before


def assert_internal_end(deployment, job, status, *, saved, failed=0):
    counts = ledger.counts(job.id)
    assert (jobs.get(job.id).status, counts.saved, counts.failed, counts.open) == (status, saved, failed, 0)
    (certificate,) = jobs.certificates(job.id)
    assert (certificate.counts.saved, certificate.counts.failed) == (saved, failed)


def test_a_runner_takes_up_a_submitted_job_and_closes_its_dispatch(deployment):
    job = submitted(deployment, 3)
    runner = build_runner(deployment)
    assert runner.run_one()
    assert not runner.run_one()
    assert deployment.dispatcher.testimony(job.ref).state == "SUCCESS"
    assert len(claimed(deployment, job)) == 3


def test_a_dispatcher_that_stops_leaves_its_run_to_the_next_without_a_lost_attempt(deployment, monkeypatch):
    job = submitted(deployment, 10)
    with monkeypatch.context() as patch:
        patch.setattr("headcount.engines.database.dispatcher.Runner._checkpoint", interrupted)
        assert build_runner(deployment).run_one()
    testimony = deployment.dispatcher.testimony(job.ref)
    assert (testimony.state, testimony.attempts) == ("PENDING", 0)
    build_runner(deployment).run_one()
    assert len(claimed(deployment, job)) == 10


def interrupted(_runner):
    raise DispatchInterruptedError("the dispatcher is stopping")


def test_a_dispatch_whose_process_died_is_taken_up_when_its_lease_ends(deployment, clock, monkeypatch):
    job = submitted(deployment, 10)
    with monkeypatch.context() as patch:
        patch.setattr("headcount.engines.database.dispatcher.Runner._carry_out", lambda runner, held: None)
        build_runner(deployment).run_one()
    assert not build_runner(deployment).run_one(), "its lease still runs"
    clock.advance(deployment.settings.dispatch_lease * 2)
    assert build_runner(deployment).run_one()
    assert len(claimed(deployment, job)) == 10


def test_a_dispatch_that_fails_for_good_revokes_a_job_with_open_tasks(deployment, monkeypatch):
    job = submitted(deployment, 10)
    monkeypatch.setattr(type(deployment.queue), "publish", refuses_for_good)
    build_runner(deployment).run_one()
    ended = jobs.get(job.id)
    assert ended.status == "REVOKED"
    assert jobs.certificates(job.id)[0].reason == "the dispatch failed: no such queue"
    assert deployment.dispatcher.testimony(job.ref).state == "FAILURE"


def refuses_for_good(*_, **__):
    raise PermanentError("no such queue")


def test_a_dispatch_that_fails_each_time_is_given_up_after_its_attempts(deployment, clock, monkeypatch):
    deployment = with_settings(deployment, dispatch_attempts=3)
    job = submitted(deployment, 10)
    monkeypatch.setattr(type(deployment.queue), "publish", breaks)
    for _ in range(3):
        assert jobs.get(job.id).status in {"PENDING", "STARTED"}
        assert build_runner(deployment).run_one()
        clock.advance(deployment.settings.health_interval)
    assert jobs.get(job.id).status == "REVOKED"
    assert not build_runner(deployment).run_one()


def breaks(*_, **__):
    raise RuntimeError("broken pipe")


def test_a_dispatch_that_failed_for_good_after_every_task_was_done_gives_the_verdict(deployment, monkeypatch):
    job = dispatched(deployment, 2)
    with monkeypatch.context() as patch:
        patch.setattr("headcount.flow.account.finalise", lambda deployment, ref: False)
        posted(deployment, job, [success(task) for task in claimed(deployment, job)])
    assert jobs.get(job.id).status == "STARTED"
    abandon_job(deployment, job.ref, "it died 10 times without a word")
    assert_ended(deployment, job, "SUCCESS", saved=2)
