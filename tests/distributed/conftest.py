"""One running deployment for all tests of a process: each leaves it as it was, however much it breaks."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from headcount.testing import servers
from headcount.testing.servers import ServerMissingError
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
    """A whole deployment on one host; its broker is RabbitMQ where there is one, else a Redis of its own."""
    with ExitStack() as stack:
        broker_url, proxy = _broker(stack)
        addresses = {"HEADCOUNT_BROKER_URL": broker_url, "HEADCOUNT_PUBLIC_URL": "http://headcount.example"}
        site = stack.enter_context(new_site(private, **addresses))
        yield stack.enter_context(live(site, stack.enter_context(up(site)), proxy))


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


def _broker(stack: ExitStack) -> tuple[str, Proxy | None]:
    """RabbitMQ is not ours to restart, so it is reached through a proxy that a test can cut."""
    url = servers.rabbitmq_url()
    if url is None:
        return stack.enter_context(servers.redis_server(is_persistent=True)).url, None
    return stack.enter_context(proxied(url))
