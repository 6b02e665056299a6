"""Celery on each broker it may have: Redis against the whole contract, and both restarted under runs that go on."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from headcount.clock import system_clock
from headcount.domain.records import JobRef
from headcount.domain.states import DispatchMode
from headcount.health.diagnose import diagnose
from headcount.health.finding import Condition
from headcount.health.loop import jobs_health_check
from headcount.ports.deployment import Deployment
from headcount.store import jobs
from headcount.testing import servers
from headcount.testing.clock import FrozenClock
from headcount.testing.contracts.dispatcher import DispatcherContract
from headcount.testing.contracts.dispatcher_script import Behaviour, ScriptedWork
from headcount.testing.factories import make_job
from headcount.testing.kinds import NoteKind
from headcount.testing.rabbitmq import rabbitmq_server
from headcount.testing.servers import PrivateServer, ServerMissingError
from headcount.testing.waiting import wait_until
from tests.contracts.test_dispatcher import ProcessHarness, celery_harness_of, said, settings_for, work
from tests.servers import need

__all__ = ["work"]

pytestmark = [
    pytest.mark.process,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("brokers of Celery"),
]
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def redis_broker() -> Iterator[PrivateServer]:
    """A Redis that forgets nothing, as a broker must."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(servers.redis_server(is_persistent=True))
        except ServerMissingError as error:
            need(str(error))
        yield server


@pytest.fixture(scope="module")
def rabbitmq_broker() -> Iterator[PrivateServer]:
    """A RabbitMQ of our own, because the one that runs is not ours to kill."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(rabbitmq_server())
        except ServerMissingError as error:
            need(str(error))
        yield server


class TestCeleryOnRedis(DispatcherContract):
    """Celery's transport gives what a killed worker held to nobody else for an hour."""

    hands_on_what_a_killed_worker_held = False

    @pytest.fixture
    def harness(self, work: ScriptedWork, redis_broker: PrivateServer) -> Iterator[ProcessHarness]:
        with celery_harness_of(work, settings_for(work, broker_url=redis_broker.url)) as harness:
            yield harness


@pytest.mark.parametrize("name", ["rabbitmq_broker", "redis_broker"])
def test_a_broker_that_is_killed_and_comes_back_has_lost_no_run_and_doubled_none(
    request: pytest.FixtureRequest, work: ScriptedWork, name: str
) -> None:
    broker: PrivateServer = request.getfixturevalue(name)
    under_way, waiting, later = [JobRef(9101, 1), JobRef(9102, 1)], JobRef(9103, 1), JobRef(9104, 1)
    with celery_harness_of(work, settings_for(work, broker_url=broker.url)) as harness:
        for job in under_way:
            work.write(job, Behaviour.WAIT)
            harness.dispatcher.enqueue(job)
        harness.start_worker()
        wait_until(lambda: all(map(work.begun, under_way)), "every process of the worker is busy")
        for job in (waiting, later):
            work.write(job, Behaviour.SUCCEED)
        harness.dispatcher.enqueue(waiting)
        broker.kill()
        broker.start()
        for job in under_way:
            work.release(job)
        for job in (*under_way, waiting):
            wait_until(lambda job=job: said(harness.dispatcher, job) == "SUCCESS", f"{job} is done")
        harness.dispatcher.enqueue(later)
        wait_until(lambda: said(harness.dispatcher, later) == "SUCCESS", "the worker is connected again")
    assert [work.begun(job) for job in (*under_way, waiting, later)] == [1, 1, 1, 1]


@pytest.mark.parametrize("name", ["rabbitmq_broker", "redis_broker"])
def test_a_job_that_waits_does_not_age_while_the_broker_is_down_and_goes_on_when_it_is_back(
    request: pytest.FixtureRequest, work: ScriptedWork, deployment: Deployment, name: str
) -> None:
    """Looked after as by ``headcount health`` out of cron; a loop of Celery's ends with the broker."""
    broker: PrivateServer = request.getfixturevalue(name)
    clock = FrozenClock(system_clock())
    with celery_harness_of(work, settings_for(work, broker_url=broker.url)) as harness:
        kinds = {NoteKind.name: NoteKind()}
        here = replace(deployment, dispatcher=harness.dispatcher, clock=clock, kinds=kinds)
        job = make_job(dispatch_mode=DispatchMode.INTERNAL)
        work.write(job.ref, Behaviour.SUCCEED)
        harness.dispatcher.enqueue(job.ref)
        jobs_health_check(here)
        broker.kill()
        try:
            for _ in range(2 * (here.settings.stalled_after // MINUTE)):
                clock.advance(MINUTE)
                assert jobs_health_check(here)["stalled"].fixed == 0
            found = {finding.condition: finding for finding in diagnose(here, job.id).findings}
        finally:
            broker.start()
        assert "does not answer" in found[Condition.WITNESS_SILENT].explanation
        assert f"127.0.0.1:{broker.port}" in found[Condition.WITNESS_SILENT].explanation
        assert jobs.get(job.id).status == "CREATED"
        assert [finding.condition for finding in diagnose(here, job.id).findings] == [Condition.HEALTHY]
        harness.start_worker()
        wait_until(lambda: said(harness.dispatcher, job.ref) == "SUCCESS", "the run that waited was taken up")
        jobs_health_check(here)
    assert jobs.get(job.id).status == "SUCCESS"
