"""Waiting: look again and again until something holds, and no longer than it may take."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 60.0
"""For whatever is bound to happen: only a test that fails waits as long."""

LOOK_EVERY_SECONDS = 0.02

_Found = TypeVar("_Found")


def wait_until(condition: Callable[[], _Found], what: str, seconds: float = PATIENCE_SECONDS) -> _Found:
    """Return what a condition gives once that is true.

    Raises:
        AssertionError: it is not within ``seconds``; the message says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not so: {what}")
        time.sleep(LOOK_EVERY_SECONDS)
    return found
