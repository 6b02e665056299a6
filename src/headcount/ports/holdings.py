"""What an engine holds, run by run, whoever still wants it."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from headcount.domain.records import JobRef


class HeldRun(NamedTuple):
    """A run of which an engine holds something; ``since`` is when that was made or last used, None where untold."""

    job: JobRef
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything an engine holds under this deployment's name.

    Attributes:
        runs: each run once, in order.
        unreadable: names that are this deployment's and of no run that can be told; somebody else put them there.
    """

    runs: tuple[HeldRun, ...] = ()
    unreadable: tuple[str, ...] = ()
