"""News: how a thread that waits for something hears that it is worth looking again."""

import os
from threading import Condition
from weakref import WeakSet


class News:
    """Counts how often something has happened, and lets threads of this process wait for the next time.

    Whoever waits reads ``count`` before it looks: what happens between its look and its wait is not missed then.
    """

    def __init__(self) -> None:
        self._count = 0
        self._changed = Condition()
        _all.add(self)

    @property
    def count(self) -> int:
        """How often something has happened so far."""
        return self._count

    def tell(self) -> None:
        """Say that something has happened."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait(self, heard: int, seconds: float) -> None:
        """Return when something has happened beyond the ``heard`` first times, or when the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != heard, seconds)

    def begin_anew(self) -> None:
        """Forget who waits: the threads that did are not in this process, nor the one that may hold the lock."""
        self._changed = Condition()


_all: WeakSet[News] = WeakSet()


def _begin_anew_after_fork() -> None:
    for news in list(_all):
        news.begin_anew()


os.register_at_fork(after_in_child=_begin_anew_after_fork)
