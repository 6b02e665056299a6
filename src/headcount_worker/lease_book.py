"""Which leases a worker holds, and when they need more time."""

import threading
from collections.abc import Iterable
from threading import Event

from headcount_worker.clock import SYSTEM_CLOCK, Clock


class LeaseBook:
    """Which leases this worker holds, which of them it has lost, and when they need more time. Safe between threads."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.changed = Event()
        self._clock = clock
        self._lock = threading.Lock()
        self._waits: dict[str, float] = {}
        self._lost: dict[str, str] = {}
        self._due: float | None = None
        self._busy_until = clock.monotonic()

    def hold(self, leases: Iterable[str], ack_wait_seconds: float) -> None:
        """Note leases that were claimed just now, each good for so many seconds."""
        with self._lock:
            self._waits.update(dict.fromkeys(leases, ack_wait_seconds))
            first_due = self._clock.monotonic() + ack_wait_seconds / 3
            self._due = first_due if self._due is None else min(self._due, first_due)
        self.changed.set()

    def drop(self, leases: Iterable[str]) -> None:
        """Forget leases that are settled: posted, released or lost."""
        with self._lock:
            for lease in leases:
                self._waits.pop(lease, None)
                self._lost.pop(lease, None)
            self._busy_until = self._clock.monotonic()

    def lose(self, lease: str, status: str) -> None:
        """Note that the server no longer counts on this worker for a lease it still holds."""
        with self._lock:
            if lease in self._waits:
                self._lost[lease] = status

    def is_lost(self, lease: str) -> bool:
        """Tell whether work on this lease would be in vain."""
        with self._lock:
            return lease in self._lost

    def to_extend(self) -> list[str]:
        """Give the leases that are worth extending."""
        with self._lock:
            return [lease for lease in self._waits if lease not in self._lost]

    def idle_seconds(self) -> float:
        """Give how long this worker has held no lease at all; 0 while it holds one."""
        with self._lock:
            return 0.0 if self._waits else self._clock.monotonic() - self._busy_until

    def touch(self) -> None:
        """Count idleness from this moment on."""
        with self._lock:
            self._busy_until = self._clock.monotonic()

    def schedule(self, longest_delay: float | None = None) -> None:
        """Set the next extension a third of the shortest lease from now, or sooner when told so."""
        with self._lock:
            pause = min(self._waits.values(), default=None)
            if pause is None:
                self._due = None
                return
            self._due = self._clock.monotonic() + min(pause / 3, longest_delay or pause)

    def seconds_until_due(self) -> float | None:
        """Give how long the next extension may wait; ``None`` while nothing is held."""
        with self._lock:
            return None if self._due is None else max(0.0, self._due - self._clock.monotonic())
