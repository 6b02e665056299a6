"""Child processes: started, watched, started again when they end, and never left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from headcount.domain.retry import backoff
from headcount.parentage import die_with_parent, is_orphan

_log = structlog.get_logger(__name__)
_ENDING = {signal.SIGTERM, signal.SIGINT}
_HEARD = _ENDING | {signal.SIGCHLD}
_LOOK_EVERY_SECONDS = 1.0
_LONGEST_PAUSE = timedelta(seconds=30)
_SETTLED_SECONDS = 60.0
"""A child that lived for so long is started again without the pauses of one that dies again and again."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running: its name for people, and its command."""

    name: str
    command: tuple[str, ...]


@dataclass
class _Life:
    child: Child
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    due_at: float = field(default_factory=time.monotonic)


class Supervisor:
    """Keeps children running until SIGTERM or Ctrl-C; run it on the main thread.

    Each child leads a process group of its own, so that whatever it started goes with it. Should this process be
    killed, the kernel tells the children to end.

    Args:
        children: what to run.
        patience: how long a child may take to end in good order.
    """

    def __init__(self, children: Sequence[Child], patience: timedelta = timedelta(seconds=30)) -> None:
        self._lives = [_Life(child) for child in children]
        self._patience = patience

    def run(self) -> None:
        """Start the children, and return when they have all ended because somebody asked for it."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        try:
            self._start_due()
            while self._heard() not in _ENDING:
                self._bury_the_dead()
                self._start_due()
        finally:
            self._end_all()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _heard(self) -> int | None:
        heard = signal.sigtimedwait(_HEARD, _LOOK_EVERY_SECONDS)
        return heard.si_signo if heard else None

    def _start_due(self) -> None:
        for life in self._lives:
            if life.process is None and time.monotonic() >= life.due_at:
                life.process = _spawn(life.child)
                life.started_at = time.monotonic()
                _log.info("child.started", child=life.child.name, pid=life.process.pid)

    def _bury_the_dead(self) -> None:
        for life in self._lives:
            if life.process is not None and life.process.poll() is not None:
                _log.warning("child.ended", child=life.child.name, code=life.process.returncode)
                _sweep(life.process)
                _plan_restart(life)

    def _end_all(self) -> None:
        running = [(life.child.name, life.process) for life in self._lives if life.process is not None]
        for _, process in running:
            process.terminate()
        deadline = time.monotonic() + self._patience.total_seconds()
        for name, process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if process.poll() is None:
                _log.warning("child.killed", child=name, after_seconds=self._patience.total_seconds())
            _sweep(process)
            process.wait()


def _spawn(child: Child) -> subprocess.Popen[bytes]:
    prepare = partial(_become_child, os.getpid())
    # Safe here: this process has one thread, and what runs between fork and exec is loaded already.
    return subprocess.Popen(child.command, process_group=0, preexec_fn=prepare)  # noqa: PLW1509


def _become_child(parent: int) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    die_with_parent(signal.SIGTERM)
    if is_orphan(parent):
        os._exit(1)


def _sweep(process: subprocess.Popen[bytes]) -> None:
    """End whatever a child started and left behind; its group outlives it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _plan_restart(life: _Life) -> None:
    lived = time.monotonic() - life.started_at
    life.failures = 1 if lived >= _SETTLED_SECONDS else life.failures + 1
    life.due_at = time.monotonic() + backoff(life.failures, longest=_LONGEST_PAUSE).total_seconds()
    life.process = None
