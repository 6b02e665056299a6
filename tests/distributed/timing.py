"""How long something took, noted with the test (``--junitxml`` shows it) and printed (``-rP`` shows it)."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Took = Callable[[str], AbstractContextManager[None]]
Record = Callable[[str, object], None]


def stopwatch(record: Record) -> Took:
    @contextmanager
    def took(what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        seconds = time.monotonic() - begun
        record(what, f"{seconds:.2f}")
        print(f"{what}: {seconds:.2f} s")

    return took
