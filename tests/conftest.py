"""What every test can ask for."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from headcount.ports.deployment import Deployment
from headcount.testing.clock import FrozenClock
from headcount.wiring import build
from tests.settings import HEADCOUNT

pytest_plugins = ["tests.servers"]

DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, leave out what touches no database: it is the same on every one and runs beside SQLite."""
    if connection.vendor == "postgresql":
        without = [item for item in items if not touches_the_database(item)]
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if touches_the_database(item)]


def touches_the_database(item: pytest.Item) -> bool:
    """Whether a test asks for the database; pytest-django lets no other reach it."""
    asked_for = DATABASE_FIXTURES.intersection(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("django_db") is not None or bool(asked_for)


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


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Make the database of this run; at its end close what killed processes and ended threads left open.

    PostgreSQL drops no database that has a session, and notices late that a process was killed.
    """
    yield
    with django_db_blocker.unblock():
        if connection.vendor == "postgresql":
            _end_other_sessions()


def _end_other_sessions() -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend(pid, 10000) {others}")
        cursor.execute(f"SELECT count(*) {others}")
        assert cursor.fetchone() == (0,)
