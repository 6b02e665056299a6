"""The time, as something that is passed in, and what follows from it alone."""

from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from threading import Lock

Clock = Callable[[], datetime]
"""Returns the present time, timezone-aware, in UTC."""

_KEYS_BEFORE_SWEEP = 10_000


def system_clock() -> datetime:
    """Return the machine's present time in UTC."""
    return datetime.now(UTC)


class Throttle:
    """Lets something happen at most once in an interval, per key, in this process."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval
        self._allowed_at: dict[Hashable, datetime] = {}
        self._lock = Lock()

    def allows(self, key: Hashable, now: datetime) -> bool:
        """Whether it may happen now; a yes counts as its happening. A clock that jumped back does not silence it."""
        with self._lock:
            last = self._allowed_at.get(key)
            if last is not None and self._is_recent(last, now):
                return False
            self._sweep(now)
            self._allowed_at[key] = now
            return True

    def _sweep(self, now: datetime) -> None:
        if len(self._allowed_at) >= _KEYS_BEFORE_SWEEP:
            silenced = {key: at for key, at in self._allowed_at.items() if self._is_recent(at, now)}
            self._allowed_at = silenced

    def _is_recent(self, at: datetime, now: datetime) -> bool:
        return timedelta(0) <= now - at < self._interval
