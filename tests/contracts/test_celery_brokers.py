"""Celery on each broker it may have: Redis against the whole contract, and both restarted under runs that go on."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from headcount.domain.records import JobRef
from headcount.testing import servers
from headcount.testing.contracts.dispatcher import DispatcherContract
from headcount.testing.contracts.dispatcher_script import Behaviour, ScriptedWork, wait_until
from headcount.testing.rabbitmq import rabbitmq_server
from headcount.testing.servers import PrivateServer, ServerMissingError
from tests.contracts.test_dispatcher import ProcessHarness, celery_harness_of, said, settings_for, work
from tests.servers import need

__all__ = ["work"]

pytestmark = [
    pytest.mark.process,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("brokers of Celery"),
]


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
    """A RabbitMQ of our own; nowhere required, because the one that is may run on another machine."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(rabbitmq_server())
        except ServerMissingError as error:
            pytest.skip(str(error))
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
