"""A finding: what a check saw."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw, in a line; ``remedy`` is what to do about it, empty where nothing is wrong."""

    about: str
    seen: str
    remedy: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.remedy
