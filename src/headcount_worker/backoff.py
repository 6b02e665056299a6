"""How long to leave a server alone that is away."""

import random
from collections.abc import Callable
from dataclasses import dataclass

RandomFraction = Callable[[], float]

LONGEST_RETRY_AFTER = 300.0


@dataclass(frozen=True)
class Backoff:
    """Waiting times that double from ``first`` to at most ``longest`` seconds, half of each left to chance.

    Chance keeps a hundred workers that lost the server in one moment from returning in one moment.
    """

    first: float = 1.0
    longest: float = 30.0
    fraction: RandomFraction = random.random

    def delay(self, failures: int, retry_after: float | None = None) -> float:
        """Give the seconds to wait after so many failures in a row (1 for the first).

        ``retry_after`` is what the server asked for; it is honoured up to five minutes.
        """
        whole = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        wished = min(retry_after or 0.0, LONGEST_RETRY_AFTER)
        return max(whole * (0.5 + 0.5 * self.fraction()), wished)
