"""Whether an engine is asked over the caller's own database connection, which it declares as ``in_database``."""

from collections.abc import Callable
from typing import Any

from django.db import connection


def asks_the_database(act: Callable[[], object]) -> bool:
    """Do something and return whether a statement went over this thread's database connection meanwhile."""
    statements: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        statements.append(sql)
        return execute(sql, *arguments)

    with connection.execute_wrapper(note):
        act()
    return bool(statements)
