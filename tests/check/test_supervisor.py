"""The supervisor of ``headcount up`` with real processes: none is missed, none is left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headcount.testing.waiting import wait_until

pytestmark = pytest.mark.process


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "tests.check.supervised", str(tmp_path)], process_group=0)
    try:
        wait_until(lambda: lives(tmp_path, "one") == lives(tmp_path, "two") == 1, "both children run")
        yield process
    finally:
        process.kill()
        process.wait(10)


def lives(directory: Path, name: str) -> int:
    return len(pids(directory, name)) // 2


def pids(directory: Path, name: str) -> list[int]:
    """The child and its own child, for each life of it."""
    file = directory / name
    return [int(word) for word in file.read_text().split()] if file.exists() else []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def everyone(directory: Path) -> list[int]:
    return [pid for name in ("one", "two") for pid in pids(directory, name) if is_running(pid)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_all_its_children(
    supervisor: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    supervisor.send_signal(number)
    assert supervisor.wait(20) == 0
    assert everyone(tmp_path) == []


def test_a_child_that_dies_is_started_again_and_leaves_nothing(
    supervisor: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    child, grandchild = pids(tmp_path, "one")
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: lives(tmp_path, "one") == 2, "it was started again")
    assert not is_running(grandchild)
    assert lives(tmp_path, "two") == 1, "the other one is left alone"


def test_a_killed_supervisor_takes_its_children_along(supervisor: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert len(everyone(tmp_path)) == 4, "two children, each with one of its own"
    supervisor.kill()
    wait_until(lambda: everyone(tmp_path) == [], "all have ended")
