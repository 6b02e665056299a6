"""Two dispatchers that collect one job, each step of one between any two of the other: one ledger, one total."""

from collections.abc import Callable

import pytest

from headcount.clock import system_clock
from headcount.domain.records import JobRef, TaskSpec
from headcount.domain.states import DispatchMode, Stage
from headcount.errors import PermanentError
from headcount.flow import collect as module
from headcount.flow.collect import collect
from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.ports.job_kind import JobKind
from headcount.ports.state_manager import Snapshot
from headcount.store import jobs, ledger, progress
from headcount.wiring import build
from tests.flow.given import events_named, project
from tests.flow.threads import at_once
from tests.settings import HEADCOUNT

SIX = tuple("abcdef")
OTHER_VIEWS = {
    "the same": SIX,
    "fewer": SIX[:3],
    "more": (*SIX, "g", "h", "i"),
    "backwards": SIX[::-1],
    "others": ("x", "b", "y", "d", "z"),
    "none": (),
}


class Views(JobKind):
    """Yields another list of keys at each run, as from a source that changes, and may be held up before each."""

    name = "views"
    dispatch_modes = frozenset({DispatchMode.INTERNAL})

    def __init__(self, *views: tuple[str, ...]) -> None:
        self._views = iter(views)
        self._hooks: dict[tuple[int, int], Callable[[], None]] = {}
        self._runs = 0

    def before(self, run: int, position: int, act: Callable[[], None]) -> None:
        """Act when a run asks for the item of a position; for that behind the last, too."""
        self._hooks[run, position] = act

    def collect(self, job):
        run, view = self._runs, next(self._views)
        self._runs += 1
        for position, key in enumerate((*view, None)):
            self._hooks.pop((run, position), lambda: None)()
            if key is not None:
                yield TaskSpec(key)

    def process(self, job, task):
        return task.key

    def save(self, job, results):
        """Nothing is kept."""


def submitted(deployment, *views):
    kind = Views(*views)
    deployment.kinds[kind.name] = kind
    return submit(deployment, JobRequest(project(), kind.name)), kind


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)


def keys(job):
    return [row.key for row in ledger.stream(job.id)]


def assert_one_account(deployment, job, *views):
    """Job row, ledger, state manager and progress have one total, noted once; it is all that one dispatcher saw."""
    found, total = keys(job), jobs.get(job.id).task_total
    assert [row.ordinal for row in ledger.stream(job.id)] == list(range(total))
    assert len(set(found)) == total
    assert any(set(view) <= set(found) for view in views)
    assert set(found) <= {key for view in views for key in view}
    assert [event.message for event in events_named(job, "job.collected")] == [f"{total} tasks collected"]
    state = deployment.state.snapshot(job.ref)
    assert isinstance(state, Snapshot)
    assert [stage.total for stage in state.stages] == [total, total]
    written = {stage.stage: stage for stage in progress.of(job.id).stages}
    assert {stage.total for stage in written.values()} == {total}
    assert written[Stage.COLLECT].done == total


def stopping_at(number):
    """A checkpoint at which a dispatcher is stopped; passed for the ``number``-th time."""
    left = iter(range(number, -1, -1))

    def checkpoint():
        if next(left) == 0:
            raise StoppedError

    return checkpoint


class StoppedError(BaseException):
    """The dispatcher is gone."""


@pytest.mark.django_db
@pytest.mark.parametrize("position", range(7))
@pytest.mark.parametrize("other", OTHER_VIEWS.values(), ids=OTHER_VIEWS.keys())
def test_one_that_runs_whole_in_the_midst_of_another_decides_the_total(deployment, other, position):
    job, kind = submitted(deployment, SIX, other)
    noted = []

    def run_the_other():
        collect(deployment, jobs.get(job.id))
        noted.append((jobs.get(job.id).task_total, keys(job)))

    kind.before(0, position, run_the_other)
    collect(deployment, job)
    assert_one_account(deployment, job, SIX, other)
    assert noted == [(jobs.get(job.id).task_total, keys(job))], "what was noted as whole has not grown since"


@pytest.mark.django_db
@pytest.mark.parametrize("position", range(7))
@pytest.mark.parametrize("stopped_at", range(4))
@pytest.mark.parametrize("other", OTHER_VIEWS.values(), ids=OTHER_VIEWS.keys())
def test_one_that_is_killed_in_the_midst_of_another_leaves_it_to_note_the_total(
    deployment, other, stopped_at, position
):
    job, kind = submitted(deployment, SIX, other)

    def run_the_other():
        with pytest.raises(StoppedError):
            collect(deployment, jobs.get(job.id), stopping_at(min(stopped_at, (len(other) + 1) // 2)))
        assert jobs.get(job.id).task_total is None

    kind.before(0, position, run_the_other)
    collect(deployment, job)
    assert_one_account(deployment, job, SIX, other)
    assert set(SIX) <= set(keys(job))


@pytest.mark.django_db
def test_a_dispatcher_killed_before_counting_has_begun_is_followed_by_one_that_begins_it(deployment, monkeypatch):
    job, _ = submitted(deployment, SIX)
    with monkeypatch.context() as patch:
        patch.setattr(type(deployment.state), "initialise", lambda *_: stopping_at(0)())
        with pytest.raises(StoppedError):
            collect(deployment, job)
    collect(deployment, jobs.get(job.id))
    assert_one_account(deployment, job, SIX)


@pytest.mark.django_db
@pytest.mark.parametrize("view", [("a", "a"), ("a", "b", "c", "a")], ids=["in one portion", "in two"])
def test_a_kind_that_yields_a_key_twice_is_told_so(deployment, view):
    job, _ = submitted(deployment, view)
    with pytest.raises(PermanentError, match="'views' yields a key twice"):
        collect(deployment, job)
    assert jobs.get(job.id).task_total is None


@pytest.mark.django_db
def test_nothing_is_collected_for_a_run_that_is_not_the_current_one(deployment):
    job, _ = submitted(deployment, SIX)
    assert not jobs.lock_collecting(JobRef(job.id, job.run + 1))
    assert jobs.lock_collecting(job.ref)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(5))
def test_dispatchers_at_once_that_see_different_sources_have_one_account(attempt):
    deployment = build(HEADCOUNT, system_clock)
    views = [SIX, tuple("abcdefghij"), SIX[::-1], tuple("fghij"), tuple("jihgfedcba")]
    job, _ = submitted(deployment, *views)
    at_once([lambda: collect(deployment, jobs.get(job.id))] * len(views))
    assert_one_account(deployment, job, *views)


@pytest.mark.django_db(transaction=True)
def test_dispatchers_at_once_do_a_whole_job_once():
    deployment = build(HEADCOUNT, system_clock)
    job, _ = submitted(deployment, *[tuple(f"k{number}" for number in range(9))] * 3)
    at_once([lambda: run_job(deployment, job.ref)] * 3)
    ended = jobs.get(job.id)
    assert (ended.status, ended.task_total, ledger.counts(job.id).saved) == ("SUCCESS", 9, 9)
