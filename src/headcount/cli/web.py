"""The web server of ``headcount serve``."""

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from headcount.api.work import end_waiting
from headcount.interpreter import prepare_to_serve
from headcount.site.wsgi import application

_THREADS = 16
_LOOK_EVERY_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0
_READ_BYTES = 256 * 1024
_STEP_SECONDS = 0.002
_LONGEST_STEP_BACK_SECONDS = 0.05
_LOOK_SOON_SECONDS = 0.001


def nothing() -> None:
    """Do nothing, now and then."""


class WebServer:
    """Answers the requests that come to a listening socket, which other processes may share, until it is stopped."""

    def __init__(self, listener: socket.socket) -> None:
        self._channels: dict[int, Any] = {}
        self._stopping = threading.Event()
        self._threads = ThreadedTaskDispatcher()
        self._threads.set_thread_count(_THREADS)
        self._server = _SharingServer(
            application,
            self._channels,
            _sock=listener,
            dispatcher=self._threads,
            adj=_adjustments(listener),
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )

    def run(self, now_and_then: Callable[[], None] = nothing) -> None:
        """Answer until stopped, then end in good order: what is under way is answered."""
        prepare_to_serve()
        while not self._stopping.is_set():
            wasyncore.loop(timeout=self._server.patience, map=self._channels, count=1)
            now_and_then()
        end_waiting()
        self._threads.shutdown(cancel_pending=False, timeout=_PATIENCE_SECONDS)
        wasyncore.loop(timeout=_LOOK_EVERY_SECONDS, map=self._channels, count=1)
        self._server.close()
        wasyncore.close_all(self._channels)

    def stop(self, *_: object) -> None:
        """Have ``run`` return; may be called as a signal's handler."""
        self._stopping.set()


def _adjustments(listener: socket.socket) -> Adjustments:
    return Adjustments(
        sockets=[listener],
        ident="headcount",
        recv_bytes=_READ_BYTES,
        max_request_body_size=4 * settings.HEADCOUNT.max_body_bytes,
    )


class _SharingServer(TcpWSGIServer):  # type: ignore[misc]
    """Leaves a new connection to whichever process holds the fewest: the more it holds, the later it takes one.

    A worker keeps its connection for as long as it runs, and the kernel gives those that come together to one process.
    """

    _takes_at: float | None = None

    @property
    def patience(self) -> float:
        """For how many seconds the loop may sleep."""
        return _LOOK_EVERY_SECONDS if self._takes_at is None else _LOOK_SOON_SECONDS

    def readable(self) -> bool:
        """Whether to look for new connections now."""
        is_due = self._takes_at is None or time.monotonic() >= self._takes_at
        return is_due and bool(super().readable())

    def handle_accept(self) -> None:
        """Step back when a connection comes, and take it if it is still there when the time is over."""
        if self._takes_at is None and self.active_channels:
            step_back = min(_STEP_SECONDS * len(self.active_channels), _LONGEST_STEP_BACK_SECONDS)
            self._takes_at = time.monotonic() + step_back
            return
        self._takes_at = None
        super().handle_accept()
