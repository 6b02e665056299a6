"""Real threads, each with a database connection of its own that is closed when it ends."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connections

from headcount.testing.waiting import PATIENCE_SECONDS


def in_thread(act: Callable[[], Any]) -> Future[Any]:
    """Do something in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(_closing_connections, act)
    pool.shutdown(wait=False)
    return future


def at_once(acts: Iterable[Callable[[], Any]]) -> list[Any]:
    """Do all things at the same moment, each in a thread of its own; returns what each returned, or raises."""
    acts = list(acts)
    barrier = threading.Barrier(len(acts))

    def begin(act: Callable[[], Any]) -> Any:
        barrier.wait(PATIENCE_SECONDS)
        return act()

    futures = [in_thread(lambda act=act: begin(act)) for act in acts]
    return [future.result(PATIENCE_SECONDS) for future in futures]


def _closing_connections(act: Callable[[], Any]) -> Any:
    try:
        return act()
    finally:
        connections.close_all()
