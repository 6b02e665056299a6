"""The processes a demo starts, and their end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from headcount.errors import ConfigurationError, HeadcountError
from headcount.parentage import die_with_parent

_PATIENCE_SECONDS = 10.0
_REQUESTS_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Processes:
    """Starts ``headcount`` commands and, as a context manager, ends every one of them on the way out."""

    def __init__(self, data_dir: Path) -> None:
        self._environment = {**os.environ, "HEADCOUNT_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
        self._logs = data_dir / "logs"
        self._started: list[subprocess.Popen[str]] = []
        self._lasting: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        """Turn the first request to end into an exit, so that the block's own end is reached, and not left again."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for name in _REQUESTS_TO_END:
            signal.signal(name, _exit_once)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask every process to end, and end those that do not; the server, which was started first, after the others.

        A worker that ends posts what it has done, and waits for a server that went before it.
        """
        _ignore_requests_to_end()
        server = self._lasting[:1]
        for group in ([process for process in self._started if process not in server], server):
            for process in group:
                process.terminate()
            for process in group:
                _wait_or_kill(process)

    def log_of(self, name: str) -> Path:
        """Return the file a process's log goes to."""
        return self._logs / f"{name}.log"

    def start(
        self, name: str, arguments: Sequence[str], extra: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start ``headcount ARGUMENTS`` in the background; its stdout can be read, its stderr goes to its log.

        ``extra`` is added to its environment: secrets do not belong on a command line, where others see them.
        """
        with self.log_of(name).open("w", encoding="utf-8") as log:
            process = self._begin(arguments, extra or {}, log)
        self._lasting.append(process)
        return process

    def output_of(self, arguments: Sequence[str]) -> str:
        """Run ``headcount ARGUMENTS`` to its end and return what it printed.

        Raises:
            ConfigurationError: it failed; the message is its own.
        """
        process = self._begin(arguments, {}, subprocess.PIPE)
        output, complaint = process.communicate()
        if process.returncode:
            raise ConfigurationError(complaint.strip().removeprefix("headcount: "))
        return output

    def _begin(
        self, arguments: Sequence[str], extra: Mapping[str, str], stderr: IO[str] | int
    ) -> subprocess.Popen[str]:
        with _requests_held_back():
            process = subprocess.Popen(
                [sys.executable, "-m", "headcount", *arguments],
                env={**self._environment, **extra},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                preexec_fn=_prepare_child,  # noqa: PLW1509 - no other thread holds a lock that this needs
            )
            self._started.append(process)
        return process

    def complain_if_ended(self) -> None:
        """Raise HeadcountError where a process that should be running has ended."""
        for process in self._lasting:
            if process.poll() is not None:
                arguments = " ".join(map(str, process.args[3:5])) if isinstance(process.args, list) else ""
                raise HeadcountError(f"'headcount {arguments}' ended by itself; its log in {self._logs} says why")


def _wait_or_kill(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


@contextmanager
def _requests_held_back() -> Iterator[None]:
    """Hear a request to end after the block: a process that is started and not yet known would be left behind."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS_TO_END)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS_TO_END)


def _prepare_child() -> None:
    """Have it hear what its parent holds back, and end with a parent that is killed and cannot end it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS_TO_END)
    die_with_parent(signal.SIGTERM)


def _ignore_requests_to_end() -> None:
    for name in _REQUESTS_TO_END:
        signal.signal(name, signal.SIG_IGN)


def _exit_once(number: int, _: object) -> None:
    _ignore_requests_to_end()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
