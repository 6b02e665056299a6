"""Looking: what the server says of many runs at once, and of everything it holds for a deployment."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from headcount.domain.records import JobRef
from headcount.engines.nats.connection import Session
from headcount.engines.nats.names import Names
from headcount.engines.nats.places import Places
from headcount.ports.holdings import HeldRun, Holdings
from headcount.ports.task_queue import QueueDepth

_WINDOW = 200
"""Requests on the way at a time.

Over one connection they cost what one costs in latency: beside 10,000 consumers, 1,000 of them are looked at so in
0.12 s, where the list of all (256 in an answer) takes 0.9 s however few are wanted.
"""


async def depth_of(session: Session, places: Places, job: JobRef) -> QueueDepth | None:
    """Ask a run's consumer; None where it is missing."""
    place = await places.locate(session, job)
    info = await places.look_at(session, place) if place else None
    if info is None:
        return None
    return QueueDepth(info.num_pending or 0, info.num_ack_pending or 0, info.num_redelivered or 0)


async def depths_of(session: Session, places: Places, jobs: Sequence[JobRef]) -> Mapping[JobRef, QueueDepth | None]:
    """Ask the consumers of runs, many at a time; those of a stream that was made again are asked once more."""
    found = await _ask_each(session, places, jobs)
    missing = [job for job, depth in found.items() if depth is None]
    if missing and await places.was_made_again(session):
        found |= await _ask_each(session, places, missing)
    return found


async def holdings_of(session: Session, names: Names) -> Holdings:
    """List every run with a consumer, and when that was made, and every run with messages; none without a stream."""
    since: dict[JobRef, datetime | None] = {}
    unreadable: set[str] = set()
    try:
        for subject in await _subjects(session, names):
            _sort(since, unreadable, subject, names.run_of_subject(subject), None)
        async for consumer in _consumers(session, names):
            _sort(since, unreadable, consumer.name, names.run_of_consumer(consumer.name), consumer.created)
    except NotFoundError:
        return Holdings()
    return Holdings(tuple(HeldRun(*held) for held in sorted(since.items())), tuple(sorted(unreadable)))


async def _ask_each(session: Session, places: Places, jobs: Sequence[JobRef]) -> dict[JobRef, QueueDepth | None]:
    found: dict[JobRef, QueueDepth | None] = {}
    for start in range(0, len(jobs), _WINDOW):
        some = jobs[start : start + _WINDOW]
        depths = await asyncio.gather(*[depth_of(session, places, job) for job in some])
        found |= zip(some, depths, strict=True)
    return found


async def _subjects(session: Session, names: Names) -> Sequence[str]:
    info = await session.manager.stream_info(names.stream, subjects_filter=names.subjects)
    return list(info.state.subjects or {})


async def _consumers(session: Session, names: Names) -> AsyncIterator[ConsumerInfo]:
    seen = 0
    while page := await session.manager.consumers_info(names.stream, offset=seen):
        seen += len(page)
        for consumer in page:
            yield consumer


def _sort(
    since: dict[JobRef, datetime | None], unreadable: set[str], name: str, run: JobRef | None, at: datetime | None
) -> None:
    if run is None:
        unreadable.add(name)
    else:
        since[run] = at or since.get(run)
