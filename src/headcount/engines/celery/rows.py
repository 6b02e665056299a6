"""What the dispatcher's table says and how it changes: each change is one conditional UPDATE."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError
from django.db.models import F, Q, QuerySet

from headcount.domain.records import JobRef
from headcount.engines.celery.models import RUNNING, Dispatch
from headcount.errors import EngineUnavailableError
from headcount.ports.dispatcher import DispatchTestimony
from headcount.statements import write_transaction

WAITING = ("PENDING", "RETRY")
ENDED = ("SUCCESS", "FAILURE")


@dataclass(frozen=True, slots=True)
class Message:
    """What travels through the broker: a run, the generation of its dispatch, and the queue it travels in."""

    job: JobRef
    generation: int
    queue: str


@dataclass(frozen=True, slots=True)
class Held:
    """A run in the hands of this process, until its lease ends; ``begun`` is the fence."""

    job: JobRef
    begun: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Busy:
    """A run that another process holds, until then unless it extends."""

    until: datetime


def enter(job: JobRef, now: datetime) -> bool:
    """Write a run's row, unless it is there already; returns whether it was written."""
    with writing():
        return Dispatch.objects.get_or_create(job_id=job.job_id, run=job.run, defaults={"available_at": now})[1]


def unpublished_generation(job: JobRef) -> int | None:
    """Return the generation of a run that waits and has no message in the broker; None where nothing is to be sent."""
    with _answering():
        waiting = _of(job).filter(state__in=WAITING, published_at__isnull=True)
        return waiting.values_list("generation", flat=True).first()


def note_published(message: Message, now: datetime) -> None:
    """Note that the broker has confirmed a run's message."""
    with writing():
        _of(message.job).filter(generation=message.generation, state__in=WAITING).update(published_at=now)


def begin(message: Message, now: datetime, lease: timedelta) -> Held | Busy | None:
    """Take a run up under a lease; says until when somebody else holds it; None for a message that is out of date.

    A lease that ends far later than one that begins now was begun by a clock that has been set back since: it is over.
    """
    with writing():
        current = _of(message.job).filter(generation=message.generation)
        over = Q(leased_until__lt=now) | Q(leased_until__gt=now + 2 * lease)
        free = Q(state__in=WAITING) | (Q(state=RUNNING) & over)
        taken = current.filter(free).update(
            state=RUNNING, begun=F("begun") + 1, attempts=F("attempts") + 1, leased_until=now + lease, published_at=now
        )
        row = current.first()
    if row is None or row.leased_until is None:
        return None
    return Held(message.job, row.begun, row.attempts) if taken else Busy(row.leased_until)


def extend(held: Held, until: datetime) -> None:
    """Let the lease end later, unless it was lost."""
    with writing():
        _held(held).update(leased_until=until)


def close(held: Held, state: str, error: str = "") -> None:
    """Write how it ended, unless the lease was lost."""
    with writing():
        _held(held).update(state=state, error=error, leased_until=None)


def put_back(held: Held, state: str, available_at: datetime, *, attempts: int, error: str = "") -> bool:
    """Let a run wait for its next turn, with no message in the broker yet; returns False where the lease was lost."""
    with writing():
        changed = _held(held).update(
            state=state,
            error=error,
            leased_until=None,
            attempts=attempts,
            available_at=available_at,
            published_at=None,
        )
    return changed == 1


def revive(job: JobRef, now: datetime, *, lost_before: datetime) -> bool:
    """Let a run wait anew, as another generation, where its dispatch ended, or nobody holds or will ever begin it.

    What is noted for a time as far ahead of ``now`` as ``lost_before`` is behind was noted by a clock that has been set
    back since, and waits no longer. Returns whether that was so.
    """
    ahead = now + (now - lost_before)
    again = {"state": "PENDING", "generation": F("generation") + 1, "available_at": now, "published_at": None}
    lost = Q(published_at__lt=lost_before, available_at__lt=lost_before) | Q(published_at__gt=ahead)
    died = Q(leased_until__lt=now) | Q(leased_until__gt=ahead)
    with writing():
        ended = _of(job).filter(state__in=ENDED).update(**again, attempts=0, error="")
        gone = _of(job).filter(Q(state__in=WAITING) & lost | Q(state=RUNNING) & died).update(**again, leased_until=None)
    return ended + gone > 0


def testimony(job: JobRef) -> DispatchTestimony | None:
    """Return what the row says of a run, None where there is no row."""
    with _answering():
        row = _of(job).first()
    return None if row is None else _testimony(row)


def testimonies(jobs: Sequence[JobRef]) -> Mapping[JobRef, DispatchTestimony | None]:
    """Return what the rows say of each run, None where there is no row; one statement."""
    with _answering():
        rows = list(Dispatch.objects.filter(job_id__in=sorted({job.job_id for job in jobs})))
    found = {JobRef(row.job_id, row.run): _testimony(row) for row in rows}
    return {job: found.get(job) for job in jobs}


def _testimony(row: Dispatch) -> DispatchTestimony:
    return DispatchTestimony(row.state, row.attempts, row.error or None)


def _of(job: JobRef) -> QuerySet[Dispatch]:
    return Dispatch.objects.filter(job_id=job.job_id, run=job.run)


def _held(held: Held) -> QuerySet[Dispatch]:
    return _of(held.job).filter(state=RUNNING, begun=held.begun)


@contextmanager
def writing() -> Iterator[None]:
    """Run the block in one transaction; a database that does not answer raises ``EngineUnavailableError``."""
    with _answering(), write_transaction():
        yield


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise EngineUnavailableError(f"the database does not answer: {error}") from error
