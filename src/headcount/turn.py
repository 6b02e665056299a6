"""One writer at a time on an SQLite file, across the threads and the processes of this machine.

SQLite's own busy handler polls with growing pauses, which costs a multiple in the tail. Here a thread waits on a lock,
and its process in the kernel, which ends a wait the moment the file is free, and frees the file when a process dies.
Whoever writes without asking for the turn is met in ``BEGIN IMMEDIATE``, as usual.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import RLock

_THREADS = RLock()
_held: list[Path] = []


@contextmanager
def writers_turn(database: str) -> Iterator[None]:
    """Hold the turn to write to an SQLite file while the block runs; a thread that holds it may ask again.

    A database in memory belongs to one process, whose threads take turns all the same.
    """
    path = Path(database)
    with _THREADS:
        if _held or not path.is_absolute():
            yield
            return
        with _alone(path):
            yield


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = _lock_file(path, os.getpid())
    fcntl.flock(lock, fcntl.LOCK_EX)
    _held.append(path)
    try:
        yield
    finally:
        _held.clear()
        fcntl.flock(lock, fcntl.LOCK_UN)


@cache
def _lock_file(path: Path, process: int) -> int:
    """Each process opens the file itself: a lock belongs to what was opened, and a fork would share it."""
    return os.open(path.with_name(f"{path.name}-turn"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
