"""Time as the worker uses it, so that tests can bring their own."""

import time
from datetime import UTC, datetime
from threading import Event
from typing import Protocol


class Clock(Protocol):
    """What the worker asks of time."""

    def now(self) -> datetime:
        """Give the moment, with its timezone."""

    def monotonic(self) -> float:
        """Give seconds that never run backwards."""

    def wait(self, event: Event, seconds: float | None) -> bool:
        """Wait until the event is set or the seconds have passed (``None``: for ever); tell whether it was set."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Give the moment in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give the seconds of the machine's monotonic clock."""
        return time.monotonic()

    def wait(self, event: Event, seconds: float | None) -> bool:
        """Wait in real time."""
        return event.wait(seconds)


SYSTEM_CLOCK = SystemClock()
