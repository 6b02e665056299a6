"""Where a claimed batch waits while the one before it is worked on."""

import threading
from dataclasses import dataclass

from headcount_worker.image import Image
from headcount_worker.pipeline import Pipeline


@dataclass(frozen=True)
class ReadyTask:
    """A leased task whose image is here."""

    lease: str
    image: Image


@dataclass(frozen=True)
class Batch:
    """Tasks of one job, ready for its pipeline."""

    job_id: int
    pipeline: Pipeline
    tasks: tuple[ReadyTask, ...]

    def portions(self) -> list[tuple[ReadyTask, ...]]:
        """Give what is worked on in one go: everything for a batch function, one task for the others."""
        return [self.tasks] if self.pipeline.batch else [(task,) for task in self.tasks]


class Handover:
    """Holds at most one batch between the thread that claims and the thread that works."""

    def __init__(self) -> None:
        self._batch: Batch | None = None
        self._closed = False
        self._condition = threading.Condition()

    def put(self, batch: Batch) -> None:
        """Lay down a batch; the place must be free."""
        with self._condition:
            self._batch = batch
            self._condition.notify_all()

    def wait_until_free(self) -> None:
        """Return once the place is free, or closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._batch is None or self._closed)

    def take(self) -> Batch | None:
        """Pick up the batch, waiting for one to come; ``None`` once closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._batch is not None or self._closed)
            batch, self._batch = self._batch, None
            self._condition.notify_all()
            return batch

    def close(self) -> None:
        """Say that no batch will come any more."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
