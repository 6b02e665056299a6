"""What an administrator, or an accident, does to a NATS server."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

import nats
from nats.aio.msg import Msg
from nats.js import JetStreamManager

from tests.distributed.site import Site

_Answer = TypeVar("_Answer")


def delete_stream(site: Site) -> None:
    _administrate(site, lambda manager: manager.delete_stream(stream_of(site)))


def delete_consumers(site: Site) -> int:
    """Delete every consumer of the deployment's stream; returns how many there were."""

    async def delete(manager: JetStreamManager) -> int:
        consumers = await manager.consumers_info(stream_of(site))
        for consumer in consumers:
            await manager.delete_consumer(stream_of(site), consumer.name)
        return len(consumers)

    return _administrate(site, delete)


def consumers(site: Site) -> list[str]:
    async def look(manager: JetStreamManager) -> list[str]:
        return [consumer.name for consumer in await manager.consumers_info(stream_of(site))]

    return _administrate(site, look)


def messages(site: Site) -> int:
    """How many messages the deployment's stream holds."""

    async def look(manager: JetStreamManager) -> int:
        return int((await manager.stream_info(stream_of(site))).state.messages)

    return _administrate(site, look)


def stream_of(site: Site) -> str:
    return f"{site.name}_TASKS"


@contextmanager
def overheard(site: Site) -> Iterator[list[str]]:
    """Listen to everything that is published meanwhile; yields the subjects, and the replies that were asked for."""
    subjects: list[str] = []
    listens, enough = Event(), Event()

    async def note(message: Msg) -> None:
        subjects.extend([message.subject, message.reply])

    async def listen() -> None:
        client = await nats.connect(site.servers.nats.url)
        await client.subscribe(">", cb=note)
        await client.flush()
        listens.set()
        await asyncio.to_thread(enough.wait)
        await client.drain()

    thread = Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    try:
        assert listens.wait(10), "the listener is connected"
        yield subjects
    finally:
        enough.set()
        thread.join()


def _administrate(site: Site, work: Callable[[JetStreamManager], Awaitable[_Answer]]) -> _Answer:
    async def connect_and_work() -> _Answer:
        client = await nats.connect(site.servers.nats.url)
        try:
            return await work(client.jsm())
        finally:
            await client.close()

    return asyncio.run(connect_and_work())
