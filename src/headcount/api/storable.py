"""What every database stores: refused at the door where it is not, so that no database refuses it later."""

import math
from typing import Any

DEEPEST = 50
"""Levels of nesting in a JSON document; SQLite reads a thousand, Python writes not many more."""


def storable(text: str) -> str:
    """Return a text that every database takes.

    Raises:
        ValueError: it holds a NUL or half a surrogate pair.
    """
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must not contain half a surrogate pair") from error
    return text


def storable_document(document: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON document that every database takes.

    Raises:
        ValueError: it holds text that none takes, a number that JSON does not have, or is nested too deep.
    """
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [part for value in level for part in _parts(value)]
        if not level:
            return document
    raise ValueError(f"must not be nested deeper than {DEEPEST} levels")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, str):
        storable(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must not contain NaN or infinite numbers")
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def number_as_text(value: object) -> object:
    """Return a whole number as text: versions are written either way."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
