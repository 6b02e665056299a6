"""Let a worker end in good order on SIGTERM and SIGINT, and at once on the second."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from types import FrameType
from typing import Final

import structlog

from headcount_worker.stopping import Stopping

log = structlog.get_logger("headcount_worker")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
EXIT_BY_SIGNAL: Final = 128
EXIT_CRASHED: Final = 1
ENDED: Final = 0


@dataclass(frozen=True)
class Bell:
    """A pipe that signals and the end of the work ring; what is rung before somebody listens is not lost."""

    hear_end: int
    ring_end: int

    def next(self) -> int:
        """Wait for the next ring; gives the signal's number, or ``ENDED``."""
        return os.read(self.hear_end, 1)[0]

    def ring(self, number: int) -> None:
        """Ring the bell."""
        os.write(self.ring_end, bytes([number]))


@dataclass
class _Ending:
    code: int = field(default=EXIT_CRASHED)


def run_until_signalled(run: Callable[[], int], stopping: Stopping) -> int:
    """Run the worker in a thread of its own and give its exit code. Call it from the main thread.

    The main thread does nothing but wait, so that a second signal is heard even while a pipeline computes.
    """
    ending = _Ending()
    with _bell() as bell:
        work = Thread(name="headcount-work", target=_run_and_ring, args=(run, ending, bell))
        work.start()
        while (number := bell.next()) != ENDED:
            if number in SIGNALS:
                _obey(signal.Signals(number), stopping)
        work.join()
    return ending.code


def _run_and_ring(run: Callable[[], int], ending: _Ending, bell: Bell) -> None:
    try:
        ending.code = run()
    finally:
        bell.ring(ENDED)


def _obey(number: signal.Signals, stopping: Stopping) -> None:
    if stopping.draining.is_set():
        log.warning("exiting at once", why=f"{number.name} while draining")
        os._exit(EXIT_BY_SIGNAL + number)
    stopping.drain(why=f"{number.name}; once more exits at once")


@contextmanager
def _bell() -> Iterator[Bell]:
    # Python's own handlers run in the main thread some time later, and a main thread that is about to block may miss
    # them. The interpreter writes to the wakeup descriptor at once, from whichever thread the signal hits.
    bell = Bell(*os.pipe())
    os.set_blocking(bell.ring_end, False)
    handlers = {number: signal.signal(number, _leave_to_the_bell) for number in SIGNALS}
    descriptor = signal.set_wakeup_fd(bell.ring_end, warn_on_full_buffer=False)
    try:
        yield bell
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(bell.hear_end)
        os.close(bell.ring_end)


def _leave_to_the_bell(_number: int, _frame: FrameType | None) -> None:
    """Do nothing, but keep the signal from ending the process."""
