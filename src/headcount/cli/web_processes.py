"""Further processes that answer requests beside ``headcount serve``, from the same listening socket.

A Python process computes on one core. The file is written by one process at a time all the same, but most of a request
is what surrounds the writing: reading JSON, validating, answering.
"""

import os
import select
import socket
import subprocess
import sys
import time

import structlog

_log = structlog.get_logger(__name__)
_PATIENCE_SECONDS = 10.0
_PAUSE_SECONDS = 5.0
_MOST = 4


def default_number() -> int:
    """Return how many processes answer requests where nobody says: one for each core, and not more than four."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST)


class WebProcesses:
    """Starts web processes, starts those again that end, and takes them along at the end.

    Args:
        listener: the socket they take connections from.
        number: how many.
        log_json: whether they write their log lines as JSON.
    """

    def __init__(self, listener: socket.socket, number: int, *, log_json: bool) -> None:
        self._listener = listener
        self._environment = {**os.environ, "HEADCOUNT_LOG_JSON": str(log_json)}
        self._number = number
        self._processes: list[subprocess.Popen[bytes]] = []
        self._starts_again_at = 0.0
        self._is_ending = False

    def start(self) -> None:
        """Start all and wait until they answer: workers that wait for a server to come back come all at once."""
        hears, says = os.pipe()
        self._processes = [self._spawn(says) for _ in range(self._number)]
        os.close(says)
        _wait_for_bytes(hears, self._number)
        os.close(hears)

    def keep(self) -> None:
        """Start those again that have ended, with a pause for those that end at once."""
        if self._is_ending or time.monotonic() < self._starts_again_at:
            return
        ended = [process for process in self._processes if process.poll() is not None]
        if ended:
            _log.warning("web_process.ended", codes=[process.returncode for process in ended])
            self._processes = [process for process in self._processes if process not in ended]
            self._starts_again_at = time.monotonic() + _PAUSE_SECONDS
            unheard = os.open(os.devnull, os.O_WRONLY)
            self._processes += [self._spawn(unheard) for _ in ended]
            os.close(unheard)

    def end(self) -> None:
        """Ask all to end in good order."""
        self._is_ending = True
        for process in self._processes:
            process.terminate()

    def wait(self) -> None:
        """Return when all have ended; those that take too long are killed."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, ready: int) -> subprocess.Popen[bytes]:
        inherited = (self._listener.fileno(), ready)
        command = [sys.executable, "-m", "headcount.cli.web_process", *map(str, inherited)]
        return subprocess.Popen(command, pass_fds=inherited, env=self._environment)


def _wait_for_bytes(hears: int, number: int) -> None:
    """Return when so many bytes have come, nobody is left to send one, or it takes too long."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while number > 0 and select.select([hears], [], [], max(0.0, deadline - time.monotonic()))[0]:
        received = len(os.read(hears, number))
        if received == 0:
            return
        number -= received
