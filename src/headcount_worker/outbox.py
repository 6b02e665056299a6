"""Results that are computed and not yet taken by the server."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Final

from headcount_worker.wire import PostedResult

RESULTS_PER_POST: Final = 100


@dataclass(frozen=True)
class Parcel:
    """Results of one job that go in one post.

    ``grows`` tells whether more results may join it; ``crashes`` counts the posts that the server broke on.
    """

    job_id: int
    results: tuple[PostedResult, ...]
    grows: bool = True
    crashes: int = 0

    @property
    def leases(self) -> list[str]:
        """The leases of the results."""
        return [result.reply_subject for result in self.results]

    def halves(self) -> list["Parcel"]:
        """Split a parcel of two or more in two."""
        middle = len(self.results) // 2
        return [Parcel(self.job_id, part, grows=False) for part in (self.results[:middle], self.results[middle:])]

    def singles(self) -> list["Parcel"]:
        """Split a parcel into one for each result."""
        return [Parcel(self.job_id, (result,), grows=False) for result in self.results]


class Outbox:
    """A queue of parcels. A result stays counted until it is settled. Safe between threads.

    Only parcels that were never posted grow: one that came back keeps its size, or splitting it would be in vain.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parcels: deque[Parcel] = deque()
        self._unsettled = 0
        self.closed = Event()
        self._condition = threading.Condition()

    def add(self, job_id: int, results: Sequence[PostedResult]) -> None:
        """Put results in, to be posted as soon as may be."""
        with self._condition:
            for result in results:
                self._add_one(job_id, result)
            self._condition.notify_all()

    def wait_for_some(self) -> None:
        """Return once there is something to take, or nothing will come any more."""
        with self._condition:
            self._condition.wait_for(lambda: self._parcels or self.closed.is_set())

    def take(self) -> Parcel | None:
        """Give the parcel that waits longest, waiting for one to come; ``None`` once closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._parcels or self.closed.is_set())
            return self._parcels.popleft() if self._parcels else None

    def put_back(self, parcels: Sequence[Parcel]) -> None:
        """Return what the server did not take, behind the others, so that it does not hold them up."""
        with self._condition:
            self._parcels.extend(parcels)
            self._condition.notify_all()

    def settle(self, parcel: Parcel) -> None:
        """Forget a taken parcel whose results need no more posting."""
        with self._condition:
            self._unsettled -= len(parcel.results)
            self._condition.notify_all()

    def close(self) -> None:
        """Let ``take`` end once everything is posted; nothing may be added from here on."""
        with self._condition:
            self.closed.set()
            self._condition.notify_all()

    @property
    def unsettled(self) -> int:
        """How many results the server has not taken, those of a running post included."""
        with self._condition:
            return self._unsettled

    def has_room(self) -> bool:
        """Tell whether more tasks may be claimed."""
        return self.unsettled < self._limit

    def _add_one(self, job_id: int, result: PostedResult) -> None:
        self._unsettled += 1
        last = self._parcels[-1] if self._parcels else None
        if last and last.job_id == job_id and last.grows and len(last.results) < RESULTS_PER_POST:
            self._parcels[-1] = replace(last, results=(*last.results, result))
        else:
            self._parcels.append(Parcel(job_id, (result,)))
