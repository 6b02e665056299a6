"""What a health check reports: for each sub-check how many it looked at, put right, and could not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What one sub-check did: how many it looked at, how many it put right, and what it could not."""

    checked: int = 0
    fixed: int = 0
    unfixable: int = 0

    def __add__(self, other: "CheckOutcome") -> "CheckOutcome":
        """Return both together."""
        return CheckOutcome(self.checked + other.checked, self.fixed + other.fixed, self.unfixable + other.unfixable)


@dataclass(frozen=True, slots=True)
class HealthReport(Mapping[str, CheckOutcome]):
    """What one health check did, by the name of the sub-check.

    Attributes:
        checks: the outcome of each sub-check.
        jobs: how many jobs that have not ended were looked at.
        seconds: how long it took.
    """

    checks: Mapping[str, CheckOutcome]
    jobs: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> CheckOutcome:
        """All sub-checks together."""
        return sum(self.checks.values(), CheckOutcome())

    def __getitem__(self, name: str) -> CheckOutcome:
        return self.checks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.checks)

    def __len__(self) -> int:
        return len(self.checks)
