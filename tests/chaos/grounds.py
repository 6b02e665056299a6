"""Grounds for chaos: the engines in memory, and those of the embedded deployment, each under a clock that jumps."""

from datetime import timedelta

from headcount.cli.chaos_grounds import embedded_ground
from headcount.flow.run_job import abandon_job, run_job
from headcount.testing.chaos.faults import breakable
from headcount.testing.chaos.ground import Ground
from headcount.testing.chaos.plan import Plan, PlannedFault, Trouble, Word
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH, memory_deployment
from headcount.testing.kinds import NoteKind
from headcount.testing.memory import MemoryDispatcher
from tests.settings import HEADCOUNT


def memory_ground(kind: NoteKind | None = None) -> Ground:
    clock = FrozenClock(EPOCH)
    broken = breakable(memory_deployment(HEADCOUNT, clock, kind))
    dispatcher, here = broken.whole.dispatcher, broken.deployment
    assert isinstance(dispatcher, MemoryDispatcher)

    def take_up() -> bool:
        return bool(dispatcher.run_next(lambda ref: run_job(here, ref), lambda ref, why: abandon_job(here, ref, why)))

    def let_pass(by: timedelta) -> None:
        clock.advance(by)
        if by > HEADCOUNT.dispatch_lease:
            dispatcher.forget_holders()

    return Ground(broken, take_up, let_pass)


def database_ground(kind: NoteKind | None = None) -> Ground:
    return embedded_ground(HEADCOUNT, kind)


GROUNDS = {"memory": memory_ground, "database": database_ground}


def planned(*faults: PlannedFault, words: tuple[Word, ...] = (Word.NOTE,) * 6, batch: int = 2) -> Plan:
    """A plan that a test writes by hand."""
    return Plan(seed=0, words=words, batch=batch, faults=faults)


def fault(trouble: Trouble, after: int = 2, **fields: object) -> PlannedFault:
    return PlannedFault(**{"after": after, "trouble": trouble, "size": 2, **fields})  # type: ignore[arg-type]
