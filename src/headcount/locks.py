"""Locks by name: of the threads of one process, one at a time does a thing to one subject."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Lock, RLock


class KeyedLocks:
    """A lock for each key, there only while somebody holds it or waits for it; its holder may take it once more."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._locks: dict[Hashable, tuple[RLock, int]] = {}

    @contextmanager
    def holding(self, key: Hashable) -> Iterator[None]:
        """Run the block while no other thread runs one under the same key; wait for it if need be."""
        lock = self._enter(key)
        try:
            with lock:
                yield
        finally:
            self._leave(key)

    def __len__(self) -> int:
        """Return how many keys somebody holds or waits for."""
        with self._guard:
            return len(self._locks)

    def _enter(self, key: Hashable) -> RLock:
        with self._guard:
            lock, users = self._locks.get(key, (RLock(), 0))
            self._locks[key] = (lock, users + 1)
        return lock

    def _leave(self, key: Hashable) -> None:
        with self._guard:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)
