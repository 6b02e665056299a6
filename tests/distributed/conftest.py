"""One running deployment for all tests of a process: each leaves it as it was, however much it breaks."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from headcount.testing import servers
from headcount.testing.rabbitmq import rabbitmq_server
from headcount.testing.servers import PrivateServer, ServerMissingError
from tests.distributed.live import Live, live
from tests.distributed.proxy import Proxy, proxied
from tests.distributed.site import Servers, Site, faulty_web_host, new_site, private_servers, up
from tests.distributed.timing import Record, Took, stopwatch
from tests.servers import need


@pytest.fixture(scope="session")
def private() -> Iterator[Servers]:
    """PostgreSQL, NATS and Redis servers that tests may break and have to mend."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(private_servers())
        except ServerMissingError as error:
            need(str(error))
        yield made


@pytest.fixture(scope="session")
def running(private: Servers) -> Iterator[Live]:
    """A whole deployment on one host; its broker is a RabbitMQ where there is one, else a Redis of its own."""
    with ExitStack() as stack:
        url, broker, proxy = _broker(stack)
        addresses = {"HEADCOUNT_BROKER_URL": url, "HEADCOUNT_PUBLIC_URL": "http://headcount.example"}
        site = stack.enter_context(new_site(private, **addresses))
        yield stack.enter_context(live(site, stack.enter_context(up(site)), broker, proxy))


@pytest.fixture(scope="session")
def faulty_host(running: Live) -> Iterator[str]:
    """The address of one more web host of the running deployment, which suffers what a test arms."""
    with faulty_web_host(running.site) as url:
        yield url


@pytest.fixture
def bare(private: Servers) -> Iterator[Site]:
    """A deployment of which no process runs but those that a test starts."""
    with new_site(private) as site:
        yield site


@pytest.fixture
def took(record_property: Record) -> Took:
    """Measures a block and notes the seconds with the test."""
    return stopwatch(record_property)


def _broker(stack: ExitStack) -> tuple[str, PrivateServer | None, Proxy | None]:
    """A RabbitMQ that tests may kill where one can be started, else the one that runs, else a Redis.

    A proxy leads to each RabbitMQ, so that a test can cut connections to it and leave it and others' alone.
    """
    try:
        broker = stack.enter_context(rabbitmq_server())
    except ServerMissingError:
        broker = None
    rabbitmq_url = broker.url if broker else servers.rabbitmq_url()
    if rabbitmq_url is None:
        redis = stack.enter_context(servers.redis_server(is_persistent=True))
        return redis.url, redis, None
    url, proxy = stack.enter_context(proxied(rabbitmq_url))
    return url, broker, proxy
