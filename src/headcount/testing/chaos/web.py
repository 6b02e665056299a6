"""Web: what web processes do for workers, and where one of them dies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headcount.domain.records import Answer, JobRecord
from headcount.flow import claim, receive
from headcount.testing.chaos.faults import Breakable
from headcount.testing.chaos.plan import Place


class Web(Protocol):
    """Web processes; a call whose process dies before it answers raises ``ProcessDied``."""

    def arm(self, place: Place) -> None:
        """Have the next web process that comes to a place die there."""

    def claim(self, job: JobRecord, limit: int, worker: str) -> list[str]:
        """Claim tasks of a job; returns their lease tokens."""

    def receive(self, job: JobRecord, bodies: Sequence[dict[str, Any]]) -> Sequence[Answer]:
        """Post results; returns the answer to each."""

    def mend(self) -> None:
        """Let none die from now on."""


@dataclass(frozen=True, slots=True)
class WebHere:
    """A web process within this one: it dies as an exception, at the very call."""

    broken: Breakable

    def arm(self, place: Place) -> None:
        """Have the next process die there, whichever it is."""
        self.broken.arm(place)

    def claim(self, job: JobRecord, limit: int, worker: str) -> list[str]:
        """Claim as the request would."""
        claimer = claim.Claimer(job.project_id, worker, (job.pipeline or "",))
        return [item.token for item in claim.claim(self.broken.deployment, job, limit, claimer)]

    def receive(self, job: JobRecord, bodies: Sequence[dict[str, Any]]) -> Sequence[Answer]:
        """Account as the request would."""
        return receive.receive(self.broken.deployment, job.id, job.project_id, bodies)

    def mend(self) -> None:
        """Let nothing go wrong any more."""
        self.broken.mend()
