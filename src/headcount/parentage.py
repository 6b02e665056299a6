"""Processes that do not outlive the one that started them."""

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
"""Loaded with the module: between fork and exec nothing may be loaded any more."""


def die_with_parent(with_signal: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when the thread that forked it ends. Does nothing outside Linux."""
    if _LIBC is not None:
        _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, with_signal)


def is_orphan(parent: int) -> bool:
    """Whether this process has lost the parent that started it, who may have died before it could be watched."""
    return os.getppid() != parent
