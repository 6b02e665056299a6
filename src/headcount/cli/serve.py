"""``headcount serve`` and ``headcount migrate``."""

import errno
import signal
import socket
from dataclasses import dataclass

import click
from django.conf import settings

from headcount.cli import setup
from headcount.cli.web import WebServer
from headcount.cli.web_processes import WebProcesses, default_number
from headcount.errors import BadInputError
from headcount.health.loop import HealthLoop
from headcount.logs import configure_logs
from headcount.wiring import build_runner, deployment

DEFAULT_PORT = 8000
_PORTS_TO_TRY = 100
_BACKLOG = 1024


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(1, 65535), help=f"Port.  [default: {DEFAULT_PORT} or the next free one]")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=default_number,
    help="Processes that answer requests.  [default: one for each core, at most 4]",
)
@click.option("--log-json", is_flag=True, help="Log lines as JSON.")
def serve(host: str, port: int | None, processes: int, *, log_json: bool) -> None:
    """Run the whole embedded system with this one command.

    Web server, dispatcher and health loop; the data stay in the data directory. SIGTERM or Ctrl-C stops it gracefully:
    requests under way are answered, a dispatch under way goes on at the next start.
    """
    configure_logs(as_json=log_json, level=settings.HEADCOUNT.log_level)
    setup.prepare_database()
    listener = _listen(host, port)
    system = _System(listener, processes, log_json=log_json)
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
    """The parts of the embedded deployment, and the order in which they begin and end."""

    def __init__(self, listener: _Listener, processes: int, *, log_json: bool) -> None:
        self._server = WebServer(listener.socket)
        self._more = WebProcesses(listener.socket, processes - 1, log_json=log_json)
        self._runner = build_runner(deployment())
        self._health = HealthLoop(deployment())

    def obey_signals(self) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)

    def run(self) -> None:
        self._more.start()
        self._runner.start()
        self._health.start()
        try:
            self._server.run(self._more.keep)
        finally:
            self._more.end()
            self._runner.stop()
            self._health.stop()
            self._more.wait()

    def _stop(self, *_: object) -> None:
        self._server.stop()
        self._more.end()


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
