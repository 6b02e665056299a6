"""How long to wait between tries of anything."""

from datetime import timedelta

LONGEST_WAIT = timedelta(minutes=1)
"""How long anybody waits for the next try, at most, where nothing else is said."""


def backoff(attempt: int, *, first: timedelta = timedelta(seconds=1), longest: timedelta = LONGEST_WAIT) -> timedelta:
    """Return how long to wait before try number ``attempt`` + 1: doubling from ``first``, never above ``longest``."""
    doublings = max(0, attempt - 1)
    if first.total_seconds() * 2.0 ** min(doublings, 64) >= longest.total_seconds():
        return longest
    return first * float(2**doublings)
