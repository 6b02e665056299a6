"""Turns: of everybody who may repair a job, in whatever process, one at a time does."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from headcount.domain.records import JobRef
from headcount.models import RepairTurn
from headcount.statements import Statements, write_transaction

_SQL = Statements("headcount.store.sql")

LONGEST = timedelta(minutes=2)
"""How long the turn of a process that died keeps the others from theirs."""


@contextmanager
def taking(job: JobRef, now: datetime) -> Iterator[bool]:
    """Take the turn for a run while the block runs; yields whether it was free, and who does not have it does nothing.

    It is a row and no lock: nothing waits for it, and the block may ask engines over the network.
    """
    held_until = now + LONGEST
    taken = _SQL.run("take_turn", {"job_id": job.job_id, "run": job.run, "held_until": held_until, "now": now}) == 1
    try:
        yield taken
    finally:
        if taken:
            _give_back(job, held_until)


def _give_back(job: JobRef, held_until: datetime) -> None:
    with write_transaction():
        RepairTurn.objects.filter(job_id=job.job_id, run=job.run, held_until=held_until).delete()
