"""While the broker is away no job is given up for it, and all that needs no broker is still put right."""

from datetime import timedelta

import pytest

from headcount.domain.records import JobRecord, Outcome
from headcount.domain.states import DispatchMode
from headcount.flow.run_job import abandon_job, run_job
from headcount.flow.submit import JobRequest, submit
from headcount.health.diagnose import diagnose
from headcount.health.finding import Condition, Remedy
from headcount.health.loop import jobs_health_check
from headcount.health.stale import check_stale_jobs
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH, PIPELINE, make_project, make_started_job
from headcount.testing.faults import Fault
from headcount.testing.kinds import NoteKind
from headcount.testing.memory import MemoryDispatcher
from tests.health.observed import clock, memory

__all__ = ["clock", "memory"]

pytestmark = pytest.mark.django_db(transaction=True)

TICK = timedelta(seconds=60)
MODES = [DispatchMode.INTERNAL, DispatchMode.ASYNC_API]
"""Work that the dispatcher does itself, and work that it hands on: both wait for it first."""


def cut(deployment: Deployment) -> None:
    """Have the broker be away; what the dispatcher has noted of runs can be read all the same."""
    for method in ("reach_broker", "enqueue", "resume"):
        deployment.dispatcher.faults.plan(method, Fault.UNAVAILABLE, times=1000)


def mend(deployment: Deployment) -> None:
    """Have it back."""
    deployment.dispatcher.faults.clear()


def submitted(deployment: Deployment, mode: DispatchMode) -> JobRecord:
    """A job that nobody has taken up yet."""
    request = JobRequest(make_project(), NoteKind.name, mode, pipeline=PIPELINE, config={"tasks": 2})
    return submit(deployment, request)


def ticks(deployment: Deployment, clock: FrozenClock, time: timedelta) -> None:
    """Let time pass with a loop that looks every minute."""
    for _ in range(time // TICK):
        clock.advance(TICK)
        jobs_health_check(deployment)


def take_up(deployment: Deployment) -> None:
    """Have the dispatcher run what is due."""
    assert isinstance(deployment.dispatcher, MemoryDispatcher)
    while deployment.dispatcher.run_next(
        lambda ref: run_job(deployment, ref), lambda ref, why: abandon_job(deployment, ref, why)
    ):
        pass


@pytest.mark.parametrize("is_noted", [True, False], ids=["handed over before", "submitted meanwhile"])
@pytest.mark.parametrize("mode", MODES)
def test_a_job_that_nobody_can_take_up_is_not_given_up_and_goes_on_once_it_is_back(
    memory: Deployment, clock: FrozenClock, mode: DispatchMode, is_noted: bool
) -> None:
    if not is_noted:
        cut(memory)
    job = submitted(memory, mode)
    cut(memory)
    ticks(memory, clock, 5 * memory.settings.stalled_after)
    assert jobs.get(job.id).status == ("PENDING" if is_noted else "CREATED")
    mend(memory)
    ticks(memory, clock, 2 * TICK)
    take_up(memory)
    ended = mode is DispatchMode.INTERNAL
    assert jobs.get(job.id).status == ("SUCCESS" if ended else "STARTED")


def test_what_it_has_waited_before_counts_and_what_it_waits_meanwhile_does_not(
    memory: Deployment, clock: FrozenClock
) -> None:
    job, limit = submitted(memory, DispatchMode.INTERNAL), memory.settings.stalled_after
    jobs_health_check(memory)
    ticks(memory, clock, limit - 2 * TICK)
    cut(memory)
    ticks(memory, clock, 3 * limit)
    mend(memory)
    ticks(memory, clock, TICK)
    assert jobs.get(job.id).status == "PENDING"
    ticks(memory, clock, TICK)
    assert jobs.get(job.id).status == "REVOKED"


def test_a_job_that_is_stale_already_is_not_given_up_by_hand_either(memory: Deployment, clock: FrozenClock) -> None:
    job = submitted(memory, DispatchMode.INTERNAL)
    jobs_health_check(memory)
    ticks(memory, clock, 3 * TICK)
    cut(memory)
    (stale,) = check_stale_jobs(memory, 1)
    assert {treatment.finding.remedy for treatment in stale.treatments} == {Remedy.NONE}
    assert jobs.get(job.id).status == "PENDING"
    mend(memory)
    check_stale_jobs(memory, 1)
    assert jobs.get(job.id).status == "REVOKED"


@pytest.mark.parametrize("mode", DispatchMode)
def test_a_complete_ledger_is_finalised_all_the_same(
    memory: Deployment, clock: FrozenClock, mode: DispatchMode
) -> None:
    job = make_started_job(2, dispatch_mode=mode)
    ledger.account(job.id, [Outcome(ordinal, None, result={}) for ordinal in range(2)], EPOCH)
    cut(memory)
    ticks(memory, clock, TICK)
    assert jobs.get(job.id).status == "SUCCESS"


def test_the_diagnosis_names_the_broker_and_why(memory: Deployment) -> None:
    job = submitted(memory, DispatchMode.INTERNAL)
    cut(memory)
    diagnosis = diagnose(memory, job.id)
    (found,) = (item for item in diagnosis.findings if item.condition is Condition.WITNESS_SILENT)
    assert found.explanation.startswith("The dispatcher cannot testify: the broker (memory): ")
    assert "does not answer" in found.explanation
    assert "until it answers, the job does not age and is not given up" in found.next_step
    (said,) = (item for item in diagnosis.witnesses if item.witness == "dispatcher")
    assert said.is_silent
    assert said.says.startswith("the broker (memory): ")
