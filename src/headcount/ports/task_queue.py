"""The queue: delivers the tasks of a job at least once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from headcount.domain.records import JobRef
from headcount.ports.holdings import Holdings
from headcount.ports.news import News


@dataclass(frozen=True, slots=True)
class Delivery:
    """One task handed out by the queue.

    ``sequence`` is what the engine needs to acknowledge, extend or release this delivery; it travels in the signed
    lease token and means nothing to anybody else.
    """

    ordinal: int
    sequence: int


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """What the queue knows of one run: messages nobody holds, messages under a lease, and handed out again."""

    pending: int
    in_flight: int
    redelivered: int


class TaskQueue(Protocol):
    """Delivers the ordinals of a run to whoever claims, at least once, under a lease.

    Every method raises ``EngineUnavailableError`` when the engine does not answer. All are safe to repeat.

    Attributes:
        name: of the engine.
        in_database: whether it lives in the deployment's own database and is asked over the caller's connection.
    """

    name: str
    in_database: bool

    def listen(self) -> News:
        """Return what tells of tasks that were put in or given back, for claims that wait.

        It waits for no engine. Not all is heard: a lease that ends is no news, some engines tell no other process, and
        the one that does may be away. So whoever waits looks now and then as well.
        """

    def publish(self, job: JobRef, ordinals: Sequence[int], *, generation: int = 0) -> None:
        """Put tasks in the queue; one that is there already, or under a lease, is not put in twice.

        ``generation`` sets a deliberate republication apart from a repeated publication, for engines that remember
        message identities for a while.
        """

    def claim(self, job: JobRef, limit: int, *, lease: timedelta, now: datetime) -> list[Delivery]:
        """Take up to ``limit`` tasks under a lease; an empty list when none is ready."""

    def extend(self, job: JobRef, deliveries: Sequence[Delivery], *, lease: timedelta, now: datetime) -> None:
        """Let the leases end ``lease`` from ``now``. The caller has checked that they are the current ones."""

    def release(self, job: JobRef, deliveries: Sequence[Delivery]) -> None:
        """Give tasks back for immediate redelivery. The caller has checked that the leases are the current ones."""

    def acknowledge(self, job: JobRef, deliveries: Sequence[Delivery]) -> None:
        """Remove tasks for good; confirmed by the engine on return."""

    def reclaim_expired(self, now: datetime) -> int:
        """Make tasks whose lease has ended ready again; returns how many. Engines that do so by themselves return 0."""

    def depth(self, job: JobRef) -> QueueDepth | None:
        """Return what the queue knows of a run, None when it knows nothing of it."""

    def depths(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, QueueDepth | None]:
        """Return what ``depth`` says of each run, in far fewer requests than there are runs."""

    def held_runs(self) -> Holdings:
        """Return every run of which a message or anything made for it is there."""

    def remove(self, job: JobRef) -> None:
        """Forget a run: its messages, leases and whatever the engine made for it."""
