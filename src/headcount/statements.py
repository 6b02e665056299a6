"""SQL in named files: one folder for each dialect, and ``common`` for what both read alike."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from django.db import connection, transaction

from headcount.turn import writers_turn

TimestampWriter = Callable[[datetime | None], str | None]
_TIMES_REMEMBERED = 1000
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@cache
def _text(package: str, vendor: str, name: str) -> str:
    of_dialect = files(package) / vendor / f"{name}.sql"
    statement = of_dialect if of_dialect.is_file() else files(package) / "common" / f"{name}.sql"
    return statement.read_text(encoding="utf-8")


class Statements:
    """Runs SQL files with named parameters: ``<package>/<sqlite, postgresql or common>/<name>.sql``."""

    def __init__(self, package: str) -> None:
        self._package = package

    def rows(self, name: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        with connection.cursor() as cursor:
            cursor.execute(_text(self._package, connection.vendor, name), _adapted(parameters))
            return list(cursor.fetchall())

    def returning(self, name: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement that changes rows and return what it says of them."""
        with _turn():
            return self.rows(name, parameters)

    def write_rows(self, name: str, rows: Iterable[Sequence[Any]]) -> int:
        """Write new rows, of plain values in the order that the file names; returns how many.

        On PostgreSQL the file is a COPY that the rows stream into, on SQLite an INSERT that is run for each.
        """
        statement = _text(self._package, connection.vendor, name)
        with _turn(), connection.cursor() as cursor, connection.wrap_database_errors:
            if connection.vendor == "postgresql":
                with cursor.copy(statement) as copy:
                    for row in rows:
                        copy.write_row(row)
            else:
                cursor.executemany(statement, list(rows))
            return max(int(cursor.rowcount), 0)

    def run(self, name: str, parameters: Mapping[str, Any]) -> int:
        """Run a file's statements in order, each ended by a semicolon; returns how many rows the last one changed."""
        with _turn(), connection.cursor() as cursor:
            for statement in _text(self._package, connection.vendor, name).split(";\n"):
                cursor.execute(statement, _adapted(parameters))
            return int(cursor.rowcount)


@contextmanager
def write_transaction() -> Iterator[None]:
    """Run the block in one transaction."""
    with _turn(), transaction.atomic():
        yield


@contextmanager
def _turn() -> Iterator[None]:
    """Have writers take turns on SQLite; nobody asks twice within one transaction."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with writers_turn(str(connection.settings_dict["NAME"])):
            yield
    else:
        yield


def as_json(value: object) -> str:
    """Return a value as compact JSON, the form in which batches travel into a statement.

    Raises:
        ValueError: it holds a NaN or an infinity, which JSON does not have. Half a surrogate pair, which SQLite would
            store and never read again, is raised by the driver.
    """
    return _JSON.encode(value)


def from_json(value: Any) -> Any:
    """Return a JSON column read by a raw statement as Python values, in either dialect."""
    return json.loads(value) if isinstance(value, str) else value


def from_timestamp(value: Any) -> Any:
    """Return a time read by a raw statement as a datetime in UTC, in either dialect."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _adapted(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _adapt(value) for name, value in parameters.items()}


def _adapt(value: Any) -> Any:
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value


def timestamp_writer() -> TimestampWriter:
    """Return what writes a time as the text that this dialect stores or casts, for use inside a JSON batch."""
    return _timestamp_writer("+00:00" if connection.vendor == "sqlite" else "")


@cache
def _timestamp_writer(unwritten: str) -> TimestampWriter:
    # The times of a batch are mostly the same few.
    @lru_cache(_TIMES_REMEMBERED)
    def write(value: datetime | None) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(sep=" ").removesuffix(unwritten)

    return write
