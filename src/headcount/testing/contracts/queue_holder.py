"""A worker's view of a queue, for tests: what the contract and the tests of single engines have in common."""

from collections.abc import Callable, Iterable
from datetime import timedelta

from headcount.domain.records import JobRef
from headcount.ports.task_queue import Delivery, TaskQueue
from headcount.testing.clock import FrozenClock
from headcount.testing.waiting import wait_until

LONG = timedelta(seconds=60)
"""A lease that does not end while a test runs."""
BRIEF = timedelta(seconds=1)
"""A lease that a test waits for."""

MakeQueue = Callable[[timedelta], TaskQueue]
JOB = JobRef(7, 1)


class Holder:
    """A worker's view of a queue: claims and settles under one lease term, at the clock's time."""

    def __init__(self, queue: TaskQueue, clock: FrozenClock, lease: timedelta) -> None:
        self.queue = queue
        self._clock = clock
        self._lease = lease

    def claim(self, limit: int = 100, job: JobRef = JOB) -> list[Delivery]:
        """Claim once."""
        return self.queue.claim(job, limit, lease=self._lease, now=self._clock())

    def claim_all(self, number: int, job: JobRef = JOB) -> list[Delivery]:
        """Claim until ``number`` tasks came, which an engine may hand out in portions and after a moment."""
        taken: list[Delivery] = []

        def enough() -> bool:
            taken.extend(self.claim(number - len(taken), job))
            return len(taken) >= number

        wait_until(enough, f"{number} tasks are handed out")
        return taken

    def extend(self, deliveries: Iterable[Delivery]) -> None:
        """Extend leases by a full term from the clock's now."""
        self.queue.extend(JOB, list(deliveries), lease=self._lease, now=self._clock())


def ordinals(deliveries: Iterable[Delivery]) -> list[int]:
    """Return which tasks came, sorted: the port promises no order."""
    return sorted(delivery.ordinal for delivery in deliveries)


OPERATIONS: dict[str, Callable[[Holder], object]] = {
    "publish": lambda holder: holder.queue.publish(JOB, [0]),
    "claim": lambda holder: holder.claim(1),
    "extend": lambda holder: holder.extend([Delivery(0, 1)]),
    "release": lambda holder: holder.queue.release(JOB, [Delivery(0, 1)]),
    "acknowledge": lambda holder: holder.queue.acknowledge(JOB, [Delivery(0, 1)]),
    "depth": lambda holder: holder.queue.depth(JOB),
    "depths": lambda holder: holder.queue.depths([JOB]),
    "held_runs": lambda holder: holder.queue.held_runs(),
    "remove": lambda holder: holder.queue.remove(JOB),
}
