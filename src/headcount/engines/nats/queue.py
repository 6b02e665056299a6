"""The queue on NATS JetStream."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from math import ceil

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from headcount.domain.records import JobRef
from headcount.engines.nats import looking, settling
from headcount.engines.nats.connection import NatsConnection, Session
from headcount.engines.nats.names import Names, identity, pack, unpack
from headcount.engines.nats.places import Places
from headcount.engines.nats.publishing import Message, StreamMissingError, publish
from headcount.engines.nats.pulls import pull
from headcount.engines.nats.settling import Settling
from headcount.errors import ConfigurationError
from headcount.ports.holdings import Holdings
from headcount.ports.news import News
from headcount.ports.task_queue import Delivery, QueueDepth

_log = structlog.get_logger(__name__)

REQUEST_TIMEOUT = timedelta(seconds=2)
"""How long one request to the server may take before the server counts as not answering."""

_STREAM_SEQUENCE_FIELD = 5


class NatsTaskQueue:
    """Delivers from one work-queue stream, through a durable pull consumer for each run.

    JetStream confirms before it is on disk (``sync_interval`` is two minutes by default). A killed server loses no
    task, but it may forget leases and the acknowledgements of the last moments, so that tasks come back; a machine that
    loses power may lose tasks. The ledger is the truth: a task that comes back done is settled when it is claimed, a
    task that is lost is published again under a new ``generation``, and nothing more.

    A stream or consumer that is missing is not an error: a claim finds no task, ``depth`` knows nothing, what was
    leased from it needs no acknowledgement, and ``publish`` makes it again. Leases end by themselves on the server.

    Args:
        urls: the servers, ``nats://[user:password@]host:port`` each; a cluster has several.
        deployment_name: the prefix of every name, as in ``Settings.deployment_name``.
        lease: how long a claimed task is its holder's; every call that names a lease must name this one.
        timeout: for each request to the server.
    """

    name = "nats"
    in_database = False

    def __init__(
        self, urls: Sequence[str], *, deployment_name: str, lease: timedelta, timeout: timedelta = REQUEST_TIMEOUT
    ) -> None:
        self._names = Names(deployment_name)
        self._lease = lease
        self._places = Places(self._names, lease)
        self._connection = NatsConnection(urls, name=deployment_name, timeout=timeout, greet=self._greet)
        self._news = News()

    def close(self) -> None:
        """Hang up; the next call connects again."""
        self._connection.close()

    def listen(self) -> News:
        """Return the news of every process of this deployment, heard as long as the server is there."""
        self._connection.open_soon()
        return self._news

    def publish(self, job: JobRef, ordinals: Sequence[int], *, generation: int = 0) -> None:
        """Put tasks in the queue, confirmed; a stream or consumer that is missing is made."""
        subject = self._names.run(job)
        messages = [Message(b"%d" % ordinal, identity(job, ordinal, generation)) for ordinal in ordinals]

        async def work(session: Session) -> None:
            await self._places.make(session, job)
            try:
                await publish(session, subject, messages)
            except StreamMissingError:
                await self._places.make(session, job)
                await publish(session, subject, messages)
            await self._tell_news(session)

        if messages:
            self._connection.run(work)

    def claim(self, job: JobRef, limit: int, *, lease: timedelta, now: datetime) -> list[Delivery]:
        """Take up to ``limit`` ready tasks; ``now`` is the server's own.

        Raises:
            ConfigurationError: ``lease`` is not the one the consumers were made with.
            EngineUnavailableError: the server does not answer.
        """
        self._check(lease)

        async def work(session: Session) -> list[Delivery]:
            deliveries = await self._pull(session, job, limit)
            if deliveries is None:
                self._places.forget()
                deliveries = await self._pull(session, job, limit)
            if deliveries is None:
                raise TimeoutError("the consumer is there and does not answer")
            return sorted(deliveries, key=lambda delivery: delivery.ordinal)

        return self._connection.run(work) if limit > 0 else []

    def extend(self, job: JobRef, deliveries: Sequence[Delivery], *, lease: timedelta, now: datetime) -> None:
        """Let the leases end a full ``lease`` from the server's now.

        Raises:
            ConfigurationError: ``lease`` is not the one the consumers were made with.
            EngineUnavailableError: the server does not answer.
        """
        self._check(lease)
        self._settle(job, deliveries, settling.EXTEND)

    def release(self, job: JobRef, deliveries: Sequence[Delivery]) -> None:
        """Give tasks back at once. A negative acknowledgement from an old lease would take the task from its holder."""
        self._settle(job, deliveries, settling.RELEASE)

    def acknowledge(self, job: JobRef, deliveries: Sequence[Delivery]) -> None:
        """Remove tasks for good, confirmed, whoever holds them now."""
        self._settle(job, deliveries, settling.ACKNOWLEDGE)

    def reclaim_expired(self, now: datetime) -> int:
        """Do nothing: the server redelivers by itself."""
        return 0

    def depth(self, job: JobRef) -> QueueDepth | None:
        """Ask the run's consumer, in one request; None where there is no such consumer.

        A lease that has ended or was released counts as in flight until its task is handed out again.
        """

        async def work(session: Session) -> QueueDepth | None:
            return (await looking.depths_of(session, self._places, [job]))[job]

        return self._connection.run(work)

    def depths(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, QueueDepth | None]:
        """Ask the consumers of runs, many at a time over one connection."""

        async def work(session: Session) -> Mapping[JobRef, QueueDepth | None]:
            return await looking.depths_of(session, self._places, list(dict.fromkeys(jobs)))

        return self._connection.run(work)

    def held_runs(self) -> Holdings:
        """Return every run with a consumer or messages; since when a consumer is there the server tells."""

        async def work(session: Session) -> Holdings:
            return await looking.holdings_of(session, self._names)

        return self._connection.run(work)

    def remove(self, job: JobRef) -> None:
        """Delete the run's consumer and its messages; what is missing is as good as deleted."""

        async def work(session: Session) -> None:
            self._places.forget()
            place = await self._places.locate(session, job)
            if place is None:
                return
            # A claim that finds the consumer missing makes it again while there are tasks: they go first.
            await session.manager.purge_stream(self._names.stream, subject=self._names.run(job))
            await self._places.delete_consumer(session, place)

        self._connection.run(work)

    async def _greet(self, session: Session) -> None:
        """Hear the news over a new connection; while there was none, some may have been missed."""
        await session.client.subscribe(self._names.news, cb=self._hear)
        await session.client.flush(ceil(session.timeout))
        self._news.tell()

    async def _tell_news(self, session: Session) -> None:
        """Say that there are tasks; what was done with them is done, whether or not this is heard."""
        with suppress(NatsError):
            await session.client.publish(self._names.news)

    async def _hear(self, _: Msg) -> None:
        self._news.tell()

    def _check(self, lease: timedelta) -> None:
        if lease != self._lease:
            raise ConfigurationError(f"the queue leases tasks for {self._lease}, it cannot for {lease}")

    async def _pull(self, session: Session, job: JobRef, limit: int) -> list[Delivery] | None:
        """Return None where the consumer that should be there did not answer."""
        place = await self._places.serving(session, job)
        if place is None:
            return []
        messages = await pull(session, self._names.next_of(place.consumer), limit)
        return None if messages is None else await _deliveries(messages, place.incarnation)

    def _settle(self, job: JobRef, deliveries: Sequence[Delivery], word: bytes) -> None:
        async def work(session: Session) -> None:
            if not await self._tell(session, job, deliveries, word):
                self._places.forget()
                await self._settle_without_consumer(session, job, deliveries, word)
            if word == settling.RELEASE:
                await self._tell_news(session)

        if deliveries:
            self._connection.run(work)

    async def _tell(self, session: Session, job: JobRef, deliveries: Sequence[Delivery], word: bytes) -> bool:
        """Return whether the consumer these deliveries came from heard the word."""
        place = await self._places.locate(session, job)
        sequences = _sequences(deliveries, place.incarnation) if place else []
        if place is None or len(sequences) < len(deliveries):
            return False
        consumer_sequence: int | None = 0
        if word == settling.RELEASE:
            consumer_sequence = await settling.newest_consumer_sequence(session, self._places, place)
        if consumer_sequence is None:
            return False
        return await self._was_heard(session, Settling(place, sequences, word), consumer_sequence)

    async def _was_heard(self, session: Session, said: Settling, consumer_sequence: int) -> bool:
        """Silence is an error, unless it comes from a consumer that lost its memory."""
        try:
            return await settling.tell(session, self._names, said, consumer_sequence)
        except TimeoutError:
            if await settling.remembers(session, self._places, said):
                raise
            return False

    async def _settle_without_consumer(
        self, session: Session, job: JobRef, deliveries: Sequence[Delivery], word: bytes
    ) -> None:
        """A lease from before the stream was made again means a message that is gone, and there is nothing to say.

        Where only the consumer's memory is gone, an acknowledged message is taken out of the stream by its number;
        an extension or release is moot, because the task is handed out again in any case.
        """
        place = await self._places.locate(session, job)
        sequences = _sequences(deliveries, place.incarnation) if place else []
        if sequences and word == settling.ACKNOWLEDGE:
            await settling.delete(session, self._names, sequences)


async def _deliveries(messages: Sequence[Msg], incarnation: int) -> list[Delivery]:
    """A message that is not a task's was put there by somebody else; it is ended, lest it come back for ever."""
    deliveries = []
    for message in messages:
        if message.data.isdigit():
            sequence = int(message.reply.split(".")[_STREAM_SEQUENCE_FIELD])
            deliveries.append(Delivery(int(message.data), pack(incarnation, sequence)))
        else:
            _log.warning("nats.foreign_message", subject=message.subject)
            await message.term()
    return deliveries


def _sequences(deliveries: Sequence[Delivery], incarnation: int) -> list[int]:
    unpacked = [unpack(delivery.sequence) for delivery in deliveries]
    return [sequence for origin, sequence in unpacked if origin == incarnation]
