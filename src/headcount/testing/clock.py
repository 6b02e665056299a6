"""A clock that stands still until it is moved."""

from datetime import datetime, timedelta
from threading import Lock


class FrozenClock:
    """Tells the same time until somebody moves it; safe to share between threads."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._lock = Lock()

    def __call__(self) -> datetime:
        """Return the time it stands at."""
        with self._lock:
            return self._now

    def advance(self, by: timedelta) -> None:
        """Move it, forwards or back."""
        with self._lock:
            self._now += by
