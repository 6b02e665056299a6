"""After a flush one handler rebuilds the state; the others of its process wait for it and count on."""

import threading

import pytest
import structlog

from headcount import metrics
from headcount.clock import system_clock
from headcount.engines.database.models import RunState, StateMark
from headcount.engines.database.state import DatabaseStateManager
from headcount.locks import KeyedLocks
from headcount.ports.deployment import Deployment
from headcount.ports.state_manager import Silence
from headcount.testing.waiting import wait_until
from headcount.wiring import build
from tests.flow.given import assert_ended, claimed, dispatched, posted, success
from tests.flow.threads import at_once, in_thread
from tests.settings import HEADCOUNT


@pytest.fixture
def deployment() -> Deployment:
    return build(HEADCOUNT, system_clock)


@pytest.mark.django_db(transaction=True)
def test_of_many_handlers_that_miss_the_state_one_rebuilds_it(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = dispatched(deployment, 24)
    tasks = claimed(deployment, job)
    posted(deployment, job, [success(tasks.pop())])
    RunState.objects.all().delete()
    StateMark.objects.all().delete()
    rebuilt: list[int] = []
    really_rebuild = DatabaseStateManager.rebuild_from

    def rebuild_and_tell(state, ref, total, marks):
        rebuilt.append(ref.job_id)
        return really_rebuild(state, ref, total, marks)

    monkeypatch.setattr(DatabaseStateManager, "rebuild_from", rebuild_and_tell)
    counted = metrics.state_fallbacks.labels(Silence.ABSENT)
    before = counted._value.get()
    handlers = [tasks[number::6] for number in range(6)]
    with structlog.testing.capture_logs() as said:
        at_once([lambda mine=mine: posted(deployment, job, [success(task) for task in mine]) for mine in handlers])
    assert rebuilt == [job.id]
    (warning,) = [line for line in said if line["event"] == "state.fallback"]
    assert (warning["log_level"], warning["job"]) == ("warning", job.id)
    assert f"no counts of job {job.id}" in warning["reason"]
    assert counted._value.get() == before + 1
    assert len(deployment.rebuilding) == 0
    assert_ended(deployment, job, "SUCCESS", saved=24)


def test_threads_take_turns_on_one_key_and_not_on_others() -> None:
    locks = KeyedLocks()
    may_leave = threading.Event()
    entered: list[str] = []

    def enter(name: str, key: str) -> None:
        with locks.holding(key):
            entered.append(name)
            may_leave.wait(60)

    first = in_thread(lambda: enter("first", "a"))
    wait_until(lambda: entered == ["first"], "the first is in")
    second, other = in_thread(lambda: enter("second", "a")), in_thread(lambda: enter("other", "b"))
    wait_until(lambda: "other" in entered and locks._locks["a"][1] == 2, "the other is in, the second waits")
    assert entered == ["first", "other"]
    may_leave.set()
    for future in (first, second, other):
        future.result(60)
    assert entered[-1] == "second"
    assert len(locks) == 0


def test_a_lock_is_given_back_by_whoever_fails() -> None:
    locks = KeyedLocks()
    with pytest.raises(ValueError, match="broken"), locks.holding("a"):
        raise ValueError("broken")
    assert len(locks) == 0
