"""Servers that tests share: one of each per test process, started when the first test asks.

A test that kills or pauses a server starts its own with ``headcount.testing.servers``. Where a server is missing the
test is skipped with the reason; where ``CI`` is set it fails instead, so that nothing is left out in silence there.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NoReturn

import pytest

from headcount.testing import servers
from headcount.testing.servers import PrivateServer, ServerMissingError


def need(reason: str) -> NoReturn:
    """Skip the test that asks, or fail it where ``CI`` is set, for a server that is not here."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def newest_nats() -> Iterator[PrivateServer]:
    """The newest NATS server of this machine, with JetStream."""
    with ExitStack() as stack:
        yield _nats(stack, "newest")


@pytest.fixture(scope="session")
def oldest_nats() -> Iterator[PrivateServer]:
    """The oldest NATS server of this machine, with JetStream."""
    with ExitStack() as stack:
        yield _nats(stack, "oldest")


@pytest.fixture(params=["oldest", "newest"])
def nats_server(request: pytest.FixtureRequest) -> PrivateServer:
    """Each NATS server in turn, shared."""
    server: PrivateServer = request.getfixturevalue(f"{request.param}_nats")
    return server


@pytest.fixture(params=["oldest", "newest"])
def own_nats_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """Each NATS server in turn, started for one test that may kill it."""
    with ExitStack() as stack:
        yield _nats(stack, request.param)


def _nats(stack: ExitStack, age: str) -> PrivateServer:
    try:
        binary = servers.oldest_nats() if age == "oldest" else servers.newest_nats()
        return stack.enter_context(servers.nats_server(binary))
    except ServerMissingError as error:
        need(str(error))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[PrivateServer]:
    """A Redis (or Valkey) server that forgets everything when it ends."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(servers.redis_server())
        except ServerMissingError as error:
            need(str(error))
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PrivateServer]:
    """A PostgreSQL server without fsync."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(servers.postgres_server())
        except ServerMissingError as error:
            need(str(error))
        yield server


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """The URL of a RabbitMQ that runs already."""
    url = servers.rabbitmq_url()
    if url is None:
        need(f"no RabbitMQ answers: start one, or set {servers.RABBITMQ_VARIABLE}")
    return url
