"""Places: the stream and the consumers, found or made, and remembered while they are there."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    RetentionPolicy,
    StreamConfig,
    StreamInfo,
)
from nats.js.errors import NotFoundError

from headcount.domain.records import JobRef
from headcount.engines.nats.connection import Session
from headcount.engines.nats.names import Names, incarnation_of

_DUPLICATE_WINDOW_SECONDS = 120.0
_REMEMBERED = 10_000
_UNLIMITED = -1
MOST_RUNS = 1_000_000
"""Consumers the stream is made for, one for each run."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run's tasks are: the incarnation of the stream and the name of the run's consumer in it."""

    incarnation: int
    consumer: str


class Places:
    """Knows the stream's incarnation and which consumers are there, until ``forget`` is called.

    Every method runs on the connection's event loop, so none needs a lock. All but ``forget`` raise nats-py's errors.

    Args:
        names: the deployment's names.
        lease: how long a message rests with whoever pulled it (``ack_wait``).
    """

    def __init__(self, names: Names, lease: timedelta) -> None:
        self._names = names
        self._lease = lease.total_seconds()
        self._incarnation: int | None = None
        self._served: set[JobRef] = set()

    def forget(self) -> None:
        """Look again next time, because something that should be there did not answer."""
        self._incarnation = None
        self._served.clear()

    async def was_made_again(self, session: Session) -> bool:
        """Whether the stream is another one than it was thought to be; what was remembered is forgotten then."""
        before, now = self._incarnation, await self._look_for_stream(session)
        if now != before:
            self.forget()
            self._incarnation = now
        return now != before

    async def locate(self, session: Session, job: JobRef) -> Place | None:
        """Return where a run's tasks would be, None where there is no stream. The consumer may be missing."""
        if self._incarnation is None:
            self._incarnation = await self._look_for_stream(session)
        return None if self._incarnation is None else self._place(job, self._incarnation)

    async def serving(self, session: Session, job: JobRef) -> Place | None:
        """Return where a run's tasks can be pulled from, None where the stream holds nothing of the run.

        A consumer that is missing while tasks are there is made again.
        """
        place = await self.locate(session, job)
        if place is None or job in self._served:
            return place
        info = await self.look_at(session, place)
        if info is None:
            return await self._serve_again(session, job)
        if info.config.ack_wait != self._lease:
            await self._make_consumer(session, job, place)
        self._remember(job)
        return place

    async def make(self, session: Session, job: JobRef) -> Place:
        """Return the place of a run after making sure that its stream and its consumer are there."""
        self._incarnation = await self._look_for_stream(session)
        if self._incarnation is None:
            self._incarnation = _incarnation(await session.manager.add_stream(self._stream_config()))
        place = self._place(job, self._incarnation)
        await self._make_consumer(session, job, place)
        self._remember(job)
        return place

    async def look_at(self, session: Session, place: Place) -> ConsumerInfo | None:
        """Return what the server says of a consumer, None where it is missing."""
        try:
            info: ConsumerInfo = await session.manager.consumer_info(self._names.stream, place.consumer)
        except NotFoundError:
            return None
        return info

    async def _serve_again(self, session: Session, job: JobRef) -> Place | None:
        """A stream that was deleted and made again since it was last looked at has other names for its consumers.

        Where the run was removed meanwhile, its tasks first, the consumer is of no use to anybody and is not left.
        """
        self.forget()
        place = await self.locate(session, job)
        if place is None or not await self._holds_tasks(session, job):
            return None
        await self._make_consumer(session, job, place)
        if not await self._holds_tasks(session, job):
            await self.delete_consumer(session, place)
            return None
        self._remember(job)
        return place

    async def delete_consumer(self, session: Session, place: Place) -> None:
        """Delete a run's consumer; one that is missing is as good as deleted."""
        with suppress(NotFoundError):
            await session.manager.delete_consumer(self._names.stream, place.consumer)

    def _place(self, job: JobRef, incarnation: int) -> Place:
        return Place(incarnation, self._names.consumer(job, incarnation))

    def _remember(self, job: JobRef) -> None:
        if len(self._served) >= _REMEMBERED:
            self._served.clear()
        self._served.add(job)

    async def _look_for_stream(self, session: Session) -> int | None:
        try:
            return _incarnation(await session.manager.stream_info(self._names.stream))
        except NotFoundError:
            return None

    async def _holds_tasks(self, session: Session, job: JobRef) -> bool:
        try:
            await session.manager.get_last_msg(self._names.stream, self._names.run(job))
        except NotFoundError:
            return False
        return True

    async def _make_consumer(self, session: Session, job: JobRef, place: Place) -> None:
        """Safe to repeat; on a consumer with another ``ack_wait`` it is an update.

        ``max_ack_pending`` is lifted, because the default of 1,000 starves claims when saving is slow. So is
        ``max_deliver``: a message whose deliveries are exhausted would stay for ever, counted as pending and handed to
        nobody. The ledger counts attempts and fails a spent task when it is handed out next.
        """
        config = ConsumerConfig(
            durable_name=place.consumer,
            filter_subject=self._names.run(job),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._lease,
            max_ack_pending=_UNLIMITED,
            max_deliver=_UNLIMITED,
        )
        await session.manager.add_consumer(self._names.stream, config)

    def _stream_config(self) -> StreamConfig:
        """The duplicate window is how long a publication may be interrupted and repeated without a second message.

        After it, tasks that wait are put in twice, which the ledger settles when they are handed out. The server keeps
        every identity in memory that long, about 150 bytes each.

        A server from 2.15 on grants 1,000 consumers to a stream that names no limit above zero, which would keep all
        further jobs from being published (nats-server pull request 8337).
        """
        return StreamConfig(
            name=self._names.stream,
            subjects=[self._names.subjects],
            retention=RetentionPolicy.WORK_QUEUE,
            duplicate_window=_DUPLICATE_WINDOW_SECONDS,
            max_consumers=MOST_RUNS,
        )


def _incarnation(info: StreamInfo) -> int:
    if info.created is None:
        raise NotFoundError(description="the server does not say when the stream was made")
    return incarnation_of(info.created)
