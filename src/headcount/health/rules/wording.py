"""How findings speak: numbers of things, and spans of time, as people say them."""

from datetime import datetime, timedelta

_UNITS = ((timedelta(days=2), timedelta(days=1), "d"), (timedelta(hours=2), timedelta(hours=1), "h"))
_SECONDS_UNTIL_MINUTES = 120


def tasks(number: int) -> str:
    """Return a number of tasks: ``1 task``, ``3 tasks``."""
    return counted(number, "task")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def are(number: int, noun: str) -> str:
    """Return a number with its noun and the verb that goes with it: ``1 task is``, ``3 tasks are``."""
    return f"{counted(number, noun)} {'is' if number == 1 else 'are'}"


def span(duration: timedelta) -> str:
    """Return a duration in the largest unit that it holds twice: ``45 s``, ``12 min``, ``24 h``, ``3 d``."""
    for least, unit, name in _UNITS:
        if duration >= least:
            return f"{duration // unit} {name}"
    seconds = max(0, int(duration.total_seconds()))
    return f"{seconds} s" if seconds < _SECONDS_UNTIL_MINUTES else f"{seconds // 60} min"


def later(now: datetime, duration: timedelta) -> datetime | None:
    """Return the moment ``duration`` from now, or None where no calendar reaches that far."""
    try:
        return now + duration
    except OverflowError:
        return None
