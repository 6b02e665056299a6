"""The state manager: hot per-stage accounting that many processes update at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from headcount.domain.records import JobRef, StageProgress
from headcount.domain.states import Stage
from headcount.ports.holdings import Holdings


@dataclass(frozen=True, slots=True)
class Mark:
    """Says that a stage has dealt with a task."""

    stage: Stage
    ordinal: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the state manager knows of a run at one moment.

    ``newly`` is how many marks of the call that returned this snapshot were new.
    """

    stages: tuple[StageProgress, ...]
    newly: int = 0

    @property
    def all_tasks_processed(self) -> bool:
        """Whether every stage has dealt with every task."""
        return bool(self.stages) and all(stage.is_complete for stage in self.stages)


class Silence(StrEnum):
    """Why a witness cannot testify: it was not heard, or it was and has nothing to go by."""

    UNHEARD = "unheard"
    """It refused, took too long, or failed: nothing follows from that."""

    ABSENT = "absent"
    """It answers, and holds nothing of the run."""

    ELSEWHERE = "elsewhere"
    """It answers, and what it would need lies under another database index."""

    BROKEN = "broken"
    """It answers, and what it holds of the run is not whole, not its own, or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A witness cannot testify; ``reason`` says why in a sentence, ``silence`` in a word."""

    reason: str
    silence: Silence = Silence.UNHEARD


class AsyncJobStateManager(Protocol):
    """Counts what is *done* per stage, each task once, whoever reports it and however often.

    What is lost makes it under-report or not testify at all; it never over-reports. Methods that change something
    raise ``EngineUnavailableError`` when the engine does not answer; ``snapshot`` answers ``Unknown`` instead.

    Attributes:
        name: of the engine.
        in_database: whether it lives in the deployment's own database and is asked over the caller's connection.
    """

    name: str
    in_database: bool

    def initialise(self, job: JobRef, total: int) -> None:
        """Begin to account for a run of ``total`` tasks; does nothing where that run is already known."""

    def account(self, job: JobRef, marks: Sequence[Mark]) -> Snapshot | Unknown:
        """Record marks in one atomic step and return what is known after it; a repeated mark changes nothing."""

    def snapshot(self, job: JobRef) -> Snapshot | Unknown:
        """Return what is known of a run, in one round trip."""

    def snapshots(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, Snapshot | Unknown]:
        """Return what is known of each run, in a number of round trips that does not grow with theirs."""

    def all_tasks_processed(self, job: JobRef) -> bool | None:
        """Whether every task went through every stage; None when the state manager cannot testify."""

    def rebuild_from(self, job: JobRef, total: int, marks: Iterable[Mark]) -> Snapshot:
        """Replace what is known of a run by what the ledger says; ``marks`` may be a lazy stream."""

    def clean_up(self, job: JobRef) -> None:
        """Forget a run; a state of another run of the same job stays."""

    def held_runs(self) -> Holdings:
        """Return every run of which anything is kept, whole or not."""
