"""Connection: one long-lived connection per process, shared by all its threads and left alone by its forks."""

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from threading import Lock, Thread
from typing import TypeVar
from urllib.parse import urlsplit

import structlog
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamManager

from headcount.errors import EngineUnavailableError

_log = structlog.get_logger(__name__)
_Result = TypeVar("_Result")

_GUARD_SECONDS = 120.0
"""Every step has its own, shorter timeout; this one only keeps a thread from waiting for ever on a fault of ours."""
_CLOSE_SECONDS = 5.0
_PING_SECONDS = 5
_inherited: list[object] = []
"""What a fork inherited. It is kept, because collecting it would tell the parent's server that the parent is gone."""


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection; ``timeout`` is in seconds and holds for each request."""

    client: Client
    manager: JetStreamManager
    timeout: float


Work = Callable[[Session], Awaitable[_Result]]


async def nothing(_: Session) -> None:
    """Do nothing with a new connection."""


class NatsConnection:
    """Runs asynchronous work over one connection and waits for its result, from any thread.

    A connection that was lost is replaced by the next call: at once when the server is back, and with an error at once
    while it is not. nats-py's own reconnection is off, because it accepts and buffers publishes in silence while the
    server is dead.

    Args:
        urls: the servers.
        name: by which the servers know the connection.
        timeout: for each request.
        greet: what is done first with every new connection.
    """

    def __init__(self, urls: Sequence[str], *, name: str, timeout: timedelta, greet: Work[None] = nothing) -> None:
        self._urls = tuple(urls)
        self._address = ", ".join(urlsplit(url).netloc.rpartition("@")[2] for url in urls)
        self._name = name
        self._timeout = timeout.total_seconds()
        self._greet = greet
        self._lock = Lock()
        self._line: _Line | None = None
        _begin_anew_after_fork(self)

    def run(self, work: Work[_Result]) -> _Result:
        """Return what ``work`` returns.

        Raises:
            EngineUnavailableError: the server does not answer, or refuses.
        """
        line = self._current_line()
        future = asyncio.run_coroutine_threadsafe(line.do(work), line.loop)
        try:
            return future.result(_GUARD_SECONDS)
        except (NatsError, OSError, TimeoutError, CancelledError) as error:
            future.cancel()
            reason = str(error) or type(error).__name__
            raise EngineUnavailableError(f"NATS at {self._address} does not answer as it should: {reason}") from error

    def open_soon(self) -> None:
        """Have a connection opened where there is none, without waiting for it."""
        line = self._current_line()
        if not line.is_open:
            asyncio.run_coroutine_threadsafe(line.do(nothing), line.loop)

    def close(self) -> None:
        """Hang up; the next call connects again."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.close()

    def begin_anew(self) -> None:
        """Forget the connection without touching it: it belongs to the process this one was forked from."""
        _inherited.append(self._line)
        self._lock = Lock()
        self._line = None

    def _current_line(self) -> "_Line":
        with self._lock:
            if self._line is None:
                self._line = _Line(self._urls, self._name, self._timeout, self._greet)
            return self._line


class _Line:
    """A thread with an event loop and, while the server is there, an open session."""

    def __init__(self, urls: Sequence[str], name: str, timeout: float, greet: Work[None]) -> None:
        self._urls = urls
        self._name = name
        self._timeout = timeout
        self._greet = greet
        self._session: Session | None = None
        self._opening: asyncio.Task[Session] | None = None
        self.loop = asyncio.new_event_loop()
        self._thread = Thread(target=self.loop.run_forever, name="headcount-nats", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether there is a session whose server is there."""
        return self._session is not None and self._session.client.is_connected

    async def do(self, work: Work[_Result]) -> _Result:
        return await work(await self._open_session())

    def close(self) -> None:
        with suppress(TimeoutError, NatsError, OSError):
            asyncio.run_coroutine_threadsafe(self._hang_up(), self.loop).result(_CLOSE_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self.loop.close()

    async def _open_session(self) -> Session:
        """Callers that come while a session is being opened wait for that one."""
        if self._session is not None and self.is_open:
            return self._session
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect())
        return await asyncio.shield(self._opening)

    async def _connect(self) -> Session:
        try:
            session = await _open(self._urls, self._name, self._timeout)
            await self._greet(session)
            self._session = session
            return session
        finally:
            self._opening = None

    async def _hang_up(self) -> None:
        if self._session is not None:
            await self._session.client.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def stop_listening(subscription: Subscription) -> None:
    """Cancel a subscription; one whose connection is gone is cancelled already."""
    with suppress(NatsError):
        await subscription.unsubscribe()


async def _open(urls: Sequence[str], name: str, seconds: float) -> Session:
    """Connect to whichever server of a cluster answers; each is tried twice, one after the other."""
    client = Client()
    await client.connect(
        list(urls),
        name=name,
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
        connect_timeout=ceil(seconds),
        ping_interval=_PING_SECONDS,
        error_cb=_note,
    )
    return Session(client, JetStreamManager(client, timeout=seconds), seconds)


async def _note(error: Exception) -> None:
    _log.debug("nats.connection", reason=str(error))


def _begin_anew_after_fork(connection: NatsConnection) -> None:
    reference = weakref.ref(connection)

    def after_in_child() -> None:
        inherited = reference()
        if inherited is not None:
            inherited.begin_anew()

    os.register_at_fork(after_in_child=after_in_child)
