"""What the tests of this folder ask for."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import pytest
from django.db import connection

T = TypeVar("T")
AtOnce = Callable[[Sequence[Callable[[], T]]], list[T]]


@pytest.fixture
def at_once() -> AtOnce:
    """Run calls on a thread each, all let go at one moment; returns what they returned, in order."""

    def run(calls: Sequence[Callable[[], T]]) -> list[T]:
        barrier = Barrier(len(calls), timeout=30)

        def one(call: Callable[[], T]) -> T:
            barrier.wait()
            try:
                return call()
            finally:
                connection.close()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(one, calls))

    return run
