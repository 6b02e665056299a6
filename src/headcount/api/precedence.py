"""Precedence: results are saved before more tasks are handed out.

A process with more to do than its core can do shares the core among all requests alike. Results that wait are not safe
yet and their leases run on, while a worker that waits for tasks has lost nothing. So a claim steps back while other
requests are under way; not for long, so that claims go on where saving itself waits for something.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Final

PATIENCE_SECONDS: Final = 0.1
"""How long a claim steps back at most; saving a batch takes a fraction of it."""


class Precedence:
    """Lets results through at once, and a claim once nothing else is under way in this process.

    Args:
        patience: for how many seconds a claim steps back at most.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._under_way = 0
        self._changed = Condition()

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Save results while the block runs."""
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Claim tasks while the block runs, which begins when it is a claim's turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0, self._patience)
            self._under_way += 1
        try:
            yield
        finally:
            self._end()

    def _end(self) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify()
