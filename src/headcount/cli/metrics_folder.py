"""One account of what the processes of ``headcount serve`` count, whichever of them answers ``/metrics``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""As ``headcount.metrics`` has it, which must not be loaded before: prometheus-client looks for it once."""


@contextmanager
def one_for_all() -> Iterator[None]:
    """Have this process and those it starts keep their counts in one folder, unless they are told a folder already."""
    if VARIABLE in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="headcount-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[VARIABLE]
