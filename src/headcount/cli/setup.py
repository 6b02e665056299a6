"""Importing this module sets Django up; commands that touch the database import it first."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import django
import structlog
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from structlog.typing import EventDict, WrappedLogger

from headcount.errors import ConfigurationError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "headcount.site.settings")
django.setup(set_prefix=False)


def _quiet_logs() -> None:
    """Keep log lines from stdout, which is for the command's answer: warnings go to stderr, lesser events nowhere.

    What runs on, such as ``serve``, configures its logs itself.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _drop_below_warning,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _drop_below_warning(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if event["level"] in {"debug", "info"}:
        raise structlog.DropEvent
    return event


_quiet_logs()


def prepare_database() -> None:
    """Bring an SQLite file's tables up to date; on a server, demand that somebody has.

    Raises:
        ConfigurationError: the tables on a server are not up to date.
    """
    _demand_an_answer()
    if not _is_behind():
        return
    if connection.vendor != "sqlite":
        raise ConfigurationError("the database's tables are not up to date: run 'headcount migrate' first")
    with _alone():
        if _is_behind():
            migrate_database()


def migrate_database() -> None:
    """Bring the tables up to date."""
    _demand_an_answer()
    call_command("migrate", verbosity=0, interactive=False)


def _demand_an_answer() -> None:
    """Ask a server once without the pool, which would keep trying and then not say why."""
    if connection.vendor == "sqlite":
        return
    probe = connection.copy()
    probe.settings_dict["OPTIONS"].pop("pool", None)
    probe.ensure_connection()
    probe.close()


def _is_behind() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes from migrating the same file meanwhile."""
    path = settings.HEADCOUNT.data_dir / "migrate.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
