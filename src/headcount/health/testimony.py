"""What each witness of a job says, as a sentence for people; or why it says nothing. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import singledispatch

from headcount.domain.records import JobProgress, StageProgress
from headcount.domain.states import DispatchMode
from headcount.domain.verdict import describe
from headcount.health.observation import LedgerTestimony, Observation, WorkersTestimony
from headcount.health.rules.wording import counted, span
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Silence, Snapshot, Unknown
from headcount.ports.task_queue import QueueDepth


@dataclass(frozen=True, slots=True)
class Statement:
    """What one witness says.

    Attributes:
        witness: its name.
        says: what it knows, or why it cannot testify.
        is_silent: whether it cannot testify.
    """

    witness: str
    says: str
    is_silent: bool = False


def statements(observation: Observation) -> tuple[Statement, ...]:
    """Return what every witness says, the job's row first."""
    job = observation.job
    return (
        Statement("job row", _job(observation)),
        _statement("ledger", observation.ledger),
        _statement("state manager", _state(observation)),
        _statement("queue", observation.queue),
        _statement("dispatcher", observation.dispatcher),
        *([_statement("workers", observation.workers)] if job.dispatch_mode == DispatchMode.ASYNC_API else []),
        _statement("progress rows", observation.progress),
        *([] if job.is_final else [Statement("patience", _patience(observation))]),
        *(Statement(engine, f"still holds {what}") for engine, what in sorted(observation.leftovers.items())),
    )


def _statement(witness: str, said: object) -> Statement:
    return Statement(witness, _words(said), isinstance(said, Unknown))


def _state(observation: Observation) -> Snapshot | Unknown | None:
    """Return what the state manager says; a run that is over is forgotten, as it should be, and no cause for alarm."""
    said = observation.state
    is_forgotten = observation.job.is_final and isinstance(said, Unknown) and said.silence is Silence.ABSENT
    return None if is_forgotten else said


@singledispatch
def _words(said: object) -> str:
    return "knows nothing of this run"


@_words.register
def _(said: Unknown) -> str:
    return said.reason


@_words.register
def _(said: LedgerTestimony) -> str:
    return ", ".join(_ledger(said))


@_words.register
def _(said: Snapshot) -> str:
    return _stages(said.stages)


@_words.register
def _(said: JobProgress) -> str:
    return _stages(said.stages)


@_words.register
def _(said: QueueDepth) -> str:
    return f"{said.pending} waiting, {said.in_flight} under a lease, {said.redelivered} delivered again"


@_words.register
def _(said: DispatchTestimony) -> str:
    error = f": {said.error}" if said.error else ""
    return f"{said.state} after {counted(said.attempts, 'attempt')}{error}"


@_words.register
def _(said: WorkersTestimony) -> str:
    last = f"; the last one at {said.last_seen_at:%Y-%m-%d %H:%M:%S}" if said.last_seen_at else ""
    return f"{counted(said.seen_lately, 'worker')} of the pipeline seen lately{last}"


def _job(observation: Observation) -> str:
    job = observation.job
    total = "not collected whole" if job.task_total is None else counted(job.task_total, "task")
    published = ", published" if job.published else ""
    return f"{job.status}, run {job.run}, {job.dispatch_mode}, {total}{published}"


def _ledger(said: LedgerTestimony) -> Iterator[str]:
    yield describe(said.counts)
    if said.counts.open:
        yield f"{said.unheld} open and held by nobody"
    if said.spent:
        yield f"{said.spent} with no attempt left"
    if said.most_attempts:
        yield f"{counted(said.most_attempts, 'attempt')} at most behind an open task"
    if said.leases_end_at:
        yield f"the last lease ends at {said.leases_end_at:%H:%M:%S}"


def _stages(stages: Iterable[StageProgress]) -> str:
    told = (f"{item.stage} {item.done} + {item.failed} failed of {_total(item)}" for item in stages)
    return ", ".join(told) or "nothing is written"


def _total(stage: StageProgress) -> str:
    return "?" if stage.total is None else str(stage.total)


def _patience(observation: Observation) -> str:
    patience = observation.patience
    at = f" (last at {patience.moved_at:%Y-%m-%d %H:%M:%S})" if patience.moved_at else ""
    return f"{span(patience.without_progress)} without progress{at}, {span(patience.without_workers)} without workers"
