"""Plan: from a seed to what becomes of each task and what goes wrong when. Pure; the same seed gives the same plan."""

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

from headcount.domain.states import JobState
from headcount.testing.faults import Fault

MOST_FAULTS = 6
MOST_COSTLY = 3
"""How many faults of a plan may cost a task an attempt; a deployment must allow more attempts than that."""

THRESHOLD = 0.5


class Word(StrEnum):
    """What becomes of a task, whoever does it and however often."""

    NOTE = "is done"
    ERROR = "fails with an error that its worker reports"
    POISON = "has a result that cannot be saved"
    SILENCE = "is never answered"


class Trouble(StrEnum):
    """What can go wrong."""

    KILL_WORKER = "a worker is killed with a batch in hand"
    KILL_WEB = "a web process is killed"
    KILL_DISPATCHER = "a dispatcher is killed"
    LOSE_STATE = "the state manager forgets the job"
    LOSE_QUEUE = "the queue forgets the job"
    RESTART_QUEUE = "the queue is restarted and forgets its leases"
    RESTART_STATE = "the state manager is restarted"
    DUPLICATE_POSTS = "a batch is posted several times at once"
    LATE_POST = "a batch is posted after its leases ended and others hold the tasks"
    REDELIVER = "tasks under a running lease are delivered again"
    RELEASE = "a worker gives its tasks back"
    CLOCK_BACK = "the clock jumps back an hour"
    LOCK_DATABASE = "somebody else holds a lock on the database while results come in"
    CANCEL = "the job is cancelled"
    CUT_BROKER = "the dispatcher's broker is away for a while"


@dataclass(frozen=True, slots=True)
class Place:
    """A point of a process's work: just before or just after a call, named ``engine.method``."""

    call: str
    fault: Fault

    def __str__(self) -> str:
        """Say it in words."""
        return f"{'before' if self.fault is Fault.DIED_BEFORE else 'after'} {self.call}"


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One thing that goes wrong.

    Attributes:
        after: when so many of the job's tasks are accounted.
        trouble: what it is.
        size: how many tasks it concerns, or how many posts come at once.
        place: where a process is killed.
        again: whether a post that nobody answered is posted again.
    """

    after: int
    trouble: Trouble
    size: int = 1
    place: Place | None = None
    again: bool = False

    def __str__(self) -> str:
        """Say it in words."""
        where = f" {self.place}" if self.place else ""
        return f"after {self.after} tasks: {self.trouble}{where}"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a deployment under test can be made to suffer, and what can become of its tasks."""

    troubles: frozenset[Trouble] = frozenset(Trouble)
    words: frozenset[Word] = frozenset(Word)


@dataclass(frozen=True, slots=True)
class Plan:
    """One job and what befalls it; ``words`` says for each task, by ordinal, what becomes of it."""

    seed: int
    words: tuple[Word, ...]
    batch: int
    faults: tuple[PlannedFault, ...]
    threshold: float = THRESHOLD

    @property
    def to_be_saved(self) -> frozenset[int]:
        """The ordinals whose results are saved, unless the job is cancelled before."""
        return frozenset(ordinal for ordinal, word in enumerate(self.words) if word is Word.NOTE)

    @property
    def to_fail(self) -> frozenset[int]:
        """The ordinals of tasks that fail, unless the job is cancelled before."""
        return frozenset(range(len(self.words))) - self.to_be_saved

    @property
    def is_cancelled(self) -> bool:
        """Whether the job is cancelled on its way."""
        return any(fault.trouble is Trouble.CANCEL for fault in self.faults)

    @property
    def status(self) -> JobState:
        """The status that the job must end with; reckoned here by itself, so that the engine's verdict is checked."""
        if self.is_cancelled:
            return JobState.REVOKED
        too_many = len(self.to_fail) > Fraction(str(self.threshold)) * len(self.words)
        return JobState.FAILURE if too_many else JobState.SUCCESS

    def as_json(self) -> dict[str, Any]:
        """Return the plan for scripts."""
        words = [word.name for word in self.words]
        faults = [asdict(fault) | {"trouble": fault.trouble.name, "place": _text(fault.place)} for fault in self.faults]
        return {"seed": self.seed, "words": words, "batch": self.batch, "status": self.status.value, "faults": faults}


_COSTLY = frozenset({Trouble.KILL_WORKER, Trouble.KILL_WEB, Trouble.LATE_POST, Trouble.REDELIVER, Trouble.CLOCK_BACK})
"""Troubles after which a task may be handed out once more."""

_SEEDS_APART = 2**31

_SHARES_OF_FAILURE = (0.0, 0.0, 0.2, 0.2, 0.45, 0.55, 0.8)
_CANCEL_ONE_IN = 6
_CUT_ONE_IN = 4
_DRAWN_LAST = frozenset({Trouble.CANCEL, Trouble.CUT_BROKER})
"""Troubles that each have a draw of their own, after the others: whether they may happen changes none of those."""


_OF_WEB = (
    Place("kind.save", Fault.DIED_AFTER),
    Place("state.account", Fault.DIED_BEFORE),
    Place("queue.acknowledge", Fault.DIED_BEFORE),
    Place("queue.acknowledge", Fault.DIED_AFTER),
    Place("queue.claim", Fault.DIED_AFTER),
    Place("kind.named_counts", Fault.DIED_BEFORE),
    Place("queue.remove", Fault.DIED_BEFORE),
    Place("state.clean_up", Fault.DIED_BEFORE),
)
"""Within a transaction, then each gap of the durable order, then those around the verdict."""

_OF_DISPATCHER = (
    Place("dispatcher.enqueue", Fault.DIED_BEFORE),
    Place("dispatcher.enqueue", Fault.DIED_AFTER),
    Place("kind.collect", Fault.DIED_BEFORE),
    Place("state.initialise", Fault.DIED_BEFORE),
    Place("state.initialise", Fault.DIED_AFTER),
    Place("queue.publish", Fault.DIED_BEFORE),
    Place("queue.publish", Fault.DIED_AFTER),
)
"""Between the submission and the hand-over, in the midst of collecting, and around publishing."""


def plan(seed: int, tasks: int, capabilities: Capabilities | None = None) -> Plan:
    """Draw a plan for a job of ``tasks`` tasks; the same arguments give the same plan, on any machine.

    Raises:
        ValueError: there is no task.
    """
    if tasks < 1:
        raise ValueError("a plan needs at least one task")
    can = capabilities or Capabilities()
    chance = random.Random(seed)  # noqa: S311 - it must be the same again, not hard to guess
    words = tuple(_words(chance, tasks, can.words))
    batch = chance.randint(1, max(1, min(8, tasks // 3)))
    faults = [
        *_faults(chance, tasks, batch, can.troubles),
        *_cancel(chance, tasks, batch, can.troubles),
        *_cut(chance, tasks, batch, can.troubles),
    ]
    return Plan(seed, words, batch, tuple(sorted(faults, key=lambda fault: fault.after)))


def plans(seed: int, jobs: int, tasks: int, capabilities: Capabilities | None = None) -> list[Plan]:
    """Draw plans for jobs that run beside each other; the first is the one that the seed alone gives."""
    return [plan(seed + number * _SEEDS_APART, tasks, capabilities) for number in range(jobs)]


def _words(chance: random.Random, tasks: int, allowed: Iterable[Word]) -> Iterable[Word]:
    bad = sorted(set(allowed) - {Word.NOTE})
    share = chance.choice(_SHARES_OF_FAILURE) if bad else 0.0
    for _ in range(tasks):
        yield chance.choice(bad) if chance.random() < share else Word.NOTE


def _faults(chance: random.Random, tasks: int, batch: int, allowed: Iterable[Trouble]) -> Iterable[PlannedFault]:
    troubles = sorted(set(allowed) - _DRAWN_LAST)
    costly = 0
    for _ in range(chance.randint(1, MOST_FAULTS) if troubles else 0):
        fault = _fault(chance, chance.choice(troubles), tasks, batch)
        costly += fault.trouble in _COSTLY
        if fault.trouble not in _COSTLY or costly <= MOST_COSTLY:
            yield fault


def _fault(chance: random.Random, trouble: Trouble, tasks: int, batch: int) -> PlannedFault:
    after, size, again = chance.randrange(tasks), chance.randint(2, 4), chance.random() < 0.5  # noqa: PLR2004 - a coin
    match trouble:
        case Trouble.KILL_DISPATCHER:
            return PlannedFault(0, trouble, size, chance.choice(_OF_DISPATCHER))
        case Trouble.KILL_WEB:
            return PlannedFault(after, trouble, batch, chance.choice(_OF_WEB), again)
        case Trouble.DUPLICATE_POSTS:
            return PlannedFault(after, trouble, size)
        case _:
            return PlannedFault(after, trouble, batch)


def _cancel(chance: random.Random, tasks: int, batch: int, allowed: Iterable[Trouble]) -> Iterable[PlannedFault]:
    """Early enough that the job cannot have ended by then: between two looks at it three batches may come in."""
    wanted = chance.randrange(_CANCEL_ONE_IN) == 0
    after = chance.randint(0, max(0, tasks - 3 * batch))
    if wanted and Trouble.CANCEL in allowed:
        yield PlannedFault(after, Trouble.CANCEL)


def _cut(chance: random.Random, tasks: int, batch: int, allowed: Iterable[Trouble]) -> Iterable[PlannedFault]:
    """Half of them while the job is submitted, which is when it needs the broker; the others where nothing may."""
    wanted = chance.randrange(_CUT_ONE_IN) == 0
    after = chance.choice((0, chance.randrange(tasks)))
    if wanted and Trouble.CUT_BROKER in allowed:
        yield PlannedFault(after, Trouble.CUT_BROKER, batch)


def _text(place: Place | None) -> str | None:
    return None if place is None else str(place)
