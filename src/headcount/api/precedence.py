"""Precedence: results are saved before more tasks are handed out.

A process with more to do than its core can do shares the core among all requests alike. Results that wait are not safe
yet and their leases run on, while a worker that waits for tasks has lost nothing. So claims take turns, and step back
while results are being saved; not for long, so that they go on where saving itself waits for something, and not many at
once, since each holds a thread that results may need.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Final

PATIENCE_SECONDS: Final = 0.25
"""How long a claim steps back at most: a few times as long as saving a batch takes."""

PLACES: Final = 4
"""Claims that may step back at once; a further one goes on."""


class Precedence:
    """Lets results through at once, and a claim once nothing else is under way in this process.

    Args:
        patience: for how many seconds a claim steps back at most.
        places: how many claims may step back at once.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS, places: int = PLACES) -> None:
        self._patience = patience
        self._places = places
        self._stepped_back = 0
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
            if self._stepped_back < self._places:
                self._step_back()
            self._under_way += 1
        try:
            yield
        finally:
            self._end()

    def _step_back(self) -> None:
        self._stepped_back += 1
        self._changed.wait_for(lambda: self._under_way == 0, self._patience)
        self._stepped_back -= 1

    def _end(self) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify()
