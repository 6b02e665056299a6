"""What every test can ask for."""

import socket
from datetime import UTC, datetime

import pytest

from headcount.ports.deployment import Deployment
from headcount.testing.clock import FrozenClock
from headcount.wiring import build
from tests.settings import HEADCOUNT

pytest_plugins = ["tests.servers"]


@pytest.fixture
def clock() -> FrozenClock:
    """A clock that stands still until it is moved."""
    return FrozenClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def deployment(clock: FrozenClock) -> Deployment:
    """The embedded deployment on the database of this run, with a clock that stands still."""
    return build(HEADCOUNT, clock)


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
