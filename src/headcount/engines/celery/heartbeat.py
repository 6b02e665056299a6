"""A heartbeat: extends a lease from a thread of its own while the work goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from django.db import connection

from headcount.errors import EngineUnavailableError

_log = structlog.get_logger(__name__)


@contextmanager
def heartbeat(beat: Callable[[], None], *, every: timedelta) -> Iterator[None]:
    """Call ``beat`` at every interval until the block ends; a beat that is missed is logged and made up for."""
    ended = threading.Event()
    thread = threading.Thread(target=_beat_until, args=(ended, beat, every), name="dispatch-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat_until(ended: threading.Event, beat: Callable[[], None], every: timedelta) -> None:
    while not ended.wait(every.total_seconds()):
        try:
            beat()
        except EngineUnavailableError as error:
            _log.warning("dispatch.heartbeat_missed", reason=str(error))
        finally:
            # Between two beats the thread holds no connection, so a dead one is never met twice.
            connection.close()
