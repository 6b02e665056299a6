"""Checks of the database: does it answer, are its tables up to date, does its clock agree, may others use it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dj_database_url
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import ConnectionHandler

from headcount.checks.finding import Finding
from headcount.clock import system_clock
from headcount.conf import DATABASE_ENGINE_URL, Settings

_TOLERABLE_SKEW = timedelta(seconds=2)


def probe(settings: Settings) -> Iterator[Finding]:
    """Check the database; where it does not answer nothing else is asked of it."""
    try:
        _connect_once(settings.effective_database_url)
    except DatabaseError as error:
        reason = " ".join(str(error).split())
        yield Finding("database", f"it does not answer: {reason}", "start it, or correct HEADCOUNT_DATABASE_URL")
        return
    yield Finding("database", f"{connection.display_name} answers")
    yield _one_host(settings)
    yield _tables()
    if connection.vendor == "postgresql":
        yield clock_skew(_database_clock(), system_clock())


def _connect_once(url: str) -> None:
    """Without the pool, which would try for a while and tell no reason."""
    lone = ConnectionHandler({"default": dict(dj_database_url.parse(url))})["default"]
    lone.ensure_connection()
    lone.close()


def clock_skew(there: datetime, here: datetime) -> Finding:
    """Compare the database's clock with this host's."""
    ahead = (here - there).total_seconds()
    if abs(ahead) <= _TOLERABLE_SKEW.total_seconds():
        return Finding("clock", f"this host and the database agree within {_TOLERABLE_SKEW.total_seconds():g} s")
    direction = "ahead of" if ahead > 0 else "behind"
    seen = f"this host is {abs(ahead):.1f} s {direction} the database; leases would end at different times"
    return Finding("clock", seen, "let NTP set the clocks of all hosts")


def _one_host(settings: Settings) -> Finding:
    urls = (settings.queue_url, settings.state_url)
    has_servers = not settings.embedded_dispatch or any(url != DATABASE_ENGINE_URL for url in urls)
    if connection.vendor != "sqlite" or not has_servers:
        return Finding("hosts", "the database serves every process that is configured to use it")
    seen = "SQLite is a file of one host, and the settings name servers that several hosts use"
    remedy = "set HEADCOUNT_DATABASE_URL=postgresql://…, or leave the queue, state and broker URLs unset"
    return Finding("hosts", seen, remedy)


def _tables() -> Finding:
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if not missing:
        return Finding("tables", "up to date")
    if connection.vendor == "sqlite":
        return Finding("tables", f"{missing} migrations to apply; every command does so by itself on SQLite")
    return Finding("tables", f"{missing} migrations are not applied", "run: headcount migrate")


def _database_clock() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        there: datetime = cursor.fetchone()[0]
    return there.astimezone(UTC)
