"""Says once when the server went away, and once when it is back."""

import threading

import structlog

from headcount_worker.clock import SYSTEM_CLOCK, Clock

log = structlog.get_logger("headcount_worker")


class Reachability:
    """What the threads of a worker know together about whether the server answers."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._away_since: float | None = None

    def away(self, reason: str) -> None:
        """Note a request that the server did not answer; the first one in a row is logged."""
        with self._lock:
            is_news = self._away_since is None
            if is_news:
                self._away_since = self._clock.monotonic()
        if is_news:
            log.warning("server away, trying again", reason=reason)

    def back(self) -> None:
        """Note a request that the server answered; the first one after a failure is logged."""
        with self._lock:
            since, self._away_since = self._away_since, None
        if since is not None:
            log.info("server back", away_seconds=round(self._clock.monotonic() - since, 1))
