"""``headcount serve`` and ``headcount migrate``."""

import errno
import signal
import socket
import threading
from dataclasses import dataclass
from typing import Any

import click
from django.conf import settings
from waitress import create_server, wasyncore

from headcount.api.work import end_waiting
from headcount.cli import setup
from headcount.errors import BadInputError
from headcount.health.loop import HealthLoop
from headcount.logs import configure_logs
from headcount.site.wsgi import application
from headcount.wiring import build_runner, deployment

DEFAULT_PORT = 8000
_PORTS_TO_TRY = 100
_THREADS = 16
_BACKLOG = 1024
_LOOK_EVERY_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(1, 65535), help=f"Port.  [default: {DEFAULT_PORT} or the next free one]")
@click.option("--log-json", is_flag=True, help="Log lines as JSON.")
def serve(host: str, port: int | None, *, log_json: bool) -> None:
    """Run the whole embedded system in this one process.

    Web server, dispatcher and health loop; the data stay in the data directory. SIGTERM or Ctrl-C stops it gracefully:
    requests under way are answered, a dispatch under way goes on at the next start.
    """
    configure_logs(as_json=log_json)
    setup.prepare_database()
    listener = _listen(host, port)
    system = _System(listener)
    system.obey_signals()
    _announce(listener)
    system.run()


@click.command()
def migrate() -> None:
    """Bring the database's tables up to date."""
    setup.migrate_database()
    click.echo("the tables are up to date")


@dataclass(frozen=True, slots=True)
class _Listener:
    socket: socket.socket
    host: str
    port: int

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104
        return f"http://{host}:{self.port}"


def _announce(listener: _Listener) -> None:
    click.echo(f"Headcount serves {listener.url}")
    click.echo(f"  API documentation  {listener.url}/api/v2/docs")
    click.echo(f"  data               {settings.HEADCOUNT.data_dir.absolute()}")
    click.echo("  stop with Ctrl-C", nl=True)


class _System:
    """The three parts of the embedded deployment, and the order in which they begin and end."""

    def __init__(self, listener: _Listener) -> None:
        self._channels: dict[int, Any] = {}
        self._server = create_server(
            application,
            map=self._channels,
            sockets=[listener.socket],
            threads=_THREADS,
            ident="headcount",
            max_request_body_size=4 * settings.HEADCOUNT.max_body_bytes,
        )
        self._runner = build_runner(deployment())
        self._health = HealthLoop(deployment())
        self._stopping = threading.Event()

    def obey_signals(self) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)

    def run(self) -> None:
        self._runner.start()
        self._health.start()
        try:
            self._answer_requests()
        finally:
            self._runner.stop()
            self._health.stop()

    def _stop(self, *_: object) -> None:
        self._stopping.set()

    def _answer_requests(self) -> None:
        while not self._stopping.is_set():
            wasyncore.loop(timeout=_LOOK_EVERY_SECONDS, map=self._channels, count=1)
        end_waiting()
        self._server.task_dispatcher.shutdown(cancel_pending=False, timeout=_PATIENCE_SECONDS)
        wasyncore.loop(timeout=_LOOK_EVERY_SECONDS, map=self._channels, count=1)
        self._server.close()
        wasyncore.close_all(self._channels)


def _listen(host: str, port: int | None) -> _Listener:
    """Bind the port asked for, or the first free one from the default on."""
    candidates = [port] if port else range(DEFAULT_PORT, DEFAULT_PORT + _PORTS_TO_TRY)
    for candidate in candidates:
        try:
            return _Listener(_bind(host, candidate), host, candidate)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno != errno.EADDRINUSE:
                break
    raise BadInputError(f"cannot listen on {host}:{port or DEFAULT_PORT}: {reason}; name another with --port")


def _bind(host: str, port: int) -> socket.socket:
    """Bind and listen at once: two sockets of ``SO_REUSEADDR`` may be bound to one port until one of them listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
