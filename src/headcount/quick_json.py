"""JSON read and written fast: of what a posted batch costs the server, a good part is JSON."""

import json
from typing import Any

import orjson


def read(text: bytes) -> Any:
    """Return what JSON says.

    What the quick reader refuses (NaN, halves of surrogate pairs, encodings other than UTF-8) is read by the standard
    library's, so that one odd result in a batch is judged by itself.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def write(value: object) -> bytes:
    """Return a value as compact JSON; halves of surrogate pairs are escaped, as the standard library does.

    Infinities and NaN, which JSON does not have, become null.

    Raises:
        TypeError: it holds what JSON cannot say.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
