"""What every test can ask for."""

import os
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, zip_longest
from math import ceil

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from headcount.interpreter import spare_what_is_loaded
from headcount.ports.deployment import Deployment
from headcount.testing.clock import FrozenClock
from headcount.wiring import build
from tests.settings import HEADCOUNT

pytest_plugins = ["tests.servers"]

DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback"}


LONG_GROUPS = (
    "a running deployment",
    "chaos",
    "more chaos",
    "the incident",
    "bare deployments",
    "brokers of Celery",
    "up",
    "as installed",
)
"""What one process has to run because it starts a lot for it, the longest first."""

GROUPS_AT_ONCE = 2
LONGEST_NAME = 200


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many processes as there are cores, and three for the tests that wait more than they compute."""
    return len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) + 3


def pytest_configure(config: pytest.Config) -> None:
    """Collect garbage as a server does: what collecting the tests loads is hundreds of thousands of objects."""
    spare_what_is_loaded()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the tests themselves as well, lest every collection of garbage looks through them."""
    spare_what_is_loaded()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Call a long value by its length: every process sends the name of every test, and of each that it runs."""
    is_long = isinstance(val, str | bytes) and len(val) > LONGEST_NAME
    return f"{argname} of {len(val)}" if is_long else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a run on PostgreSQL does not need, and put what takes long where it is begun early.

    The last to do so: pytest-django sorts the tests, too.
    """
    if connection.vendor == "postgresql":
        leave_out_what_touches_no_database(config, items)
    items[:] = with_long_groups_early(items)


def leave_out_what_touches_no_database(config: pytest.Config, items: list[pytest.Item]) -> None:
    """It is the same on every database, and runs beside SQLite."""
    config.hook.pytest_deselected(items=[item for item in items if not touches_the_database(item)])
    items[:] = [item for item in items if touches_the_database(item)]


def with_long_groups_early(items: list[pytest.Item]) -> list[pytest.Item]:
    """Begin long groups two at a time within the first half, so that others compute while they wait."""
    groups: dict[str, list[pytest.Item]] = {name: [] for name in LONG_GROUPS}
    others = []
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        (groups[mark.args[0]] if mark else others).append(item)
    long = list(groups.values())
    portions = [list(chain(*long[begin : begin + GROUPS_AT_ONCE])) for begin in range(0, len(long), GROUPS_AT_ONCE)]
    size = max(1, ceil(len(others) / (2 * len(portions))))
    parts = [others[begin : begin + size] for begin in range(0, len(others), size)]
    return list(chain(*chain(*zip_longest(portions, parts, fillvalue=[]))))


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
    if connection.vendor != "postgresql":
        yield
        return
    with django_db_blocker.unblock():
        if _may_act_as_replica():
            connection.ops.sql_flush = _rows_deleted
    yield
    with django_db_blocker.unblock():
        _end_other_sessions()


def _may_act_as_replica() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        return bool(cursor.fetchone()[0])


def _rows_deleted(_style: object, tables: Sequence[str], **_: object) -> list[str]:
    """What empties the tables after a test that commits; TRUNCATE makes the files of all of them anew, for 30 ms.

    As a replica a session minds neither foreign keys nor triggers.
    """
    deletes = "; ".join(f'DELETE FROM "{table}"' for table in tables)
    return [f"SET LOCAL session_replication_role = replica; {deletes}; SET LOCAL session_replication_role = DEFAULT"]


def _end_other_sessions() -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend(pid, 10000) {others}")
        cursor.execute(f"SELECT count(*) {others}")
        assert cursor.fetchone() == (0,)
