"""The dispatcher: runs ``run_job`` somewhere, at least once, and again after a crash."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from headcount.domain.records import JobRef

Checkpoint = Callable[[], None]
"""Called by ``run_job`` between two steps that can each be resumed; raises ``DispatchInterruptedError`` to stop it."""


def never_interrupted() -> None:
    """Be the checkpoint of a dispatch that nobody stops."""


Note = Callable[[], None]
"""Writes down, in the transaction of whoever calls it, why a dispatch is taken up again."""


def nothing_to_note() -> None:
    """Be the note of a caller who has nothing to write."""


@dataclass(frozen=True, slots=True)
class DispatchTestimony:
    """What the dispatcher knows of a run: its word for the state (Celery's words), and how often it began."""

    state: str
    attempts: int
    error: str | None = None


class Dispatcher(Protocol):
    """Accepts jobs to run; where and when is its business.

    Methods raise ``EngineUnavailableError`` when the engine does not answer. ``enqueue`` is safe to repeat.

    Attributes:
        name: of the engine.
        in_database: whether its testimony is read from the deployment's own database, over the caller's connection.
    """

    name: str
    in_database: bool

    @property
    def broker(self) -> str | None:
        """The server that carries runs to whoever takes them up, for people; None where there is none to be away."""

    def enqueue(self, job: JobRef) -> None:
        """Have ``run_job`` run for this run; does nothing where it is already enqueued, running or done."""

    def resume(self, job: JobRef, note: Note = nothing_to_note) -> bool:
        """Have ``run_job`` run again for a run whose dispatch ended, died, or is not known; returns whether it will.

        It does nothing while the dispatch is alive, and of several calls at the same moment one does it. ``note`` is
        called where it does, in the transaction that notes it, so that what it writes is there if and only if it was.
        """

    def testimony(self, job: JobRef) -> DispatchTestimony | None:
        """Return what the dispatcher knows of a run, None when it knows nothing."""

    def testimonies(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, DispatchTestimony | None]:
        """Return what ``testimony`` says of each run, in one request."""

    def reach_broker(self) -> None:
        """Return where runs can be carried on at this moment, in one request; raises where the broker is away.

        What ``testimony`` says of a run that waits is worth nothing then: nobody can take it up.
        """
