"""Writers of one SQLite file take turns, across threads and processes."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import headcount
from headcount.turn import writers_turn

HOLDER = """
import sys
from headcount.turn import writers_turn
with writers_turn(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "headcount.sqlite3")


@pytest.fixture
def holder(database: str):
    """Another process that holds the turn until its input ends."""
    source = str(Path(headcount.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process


def asked_for(database: str) -> tuple[threading.Thread, threading.Event]:
    had = threading.Event()

    def write() -> None:
        with writers_turn(database):
            had.set()

    thread = threading.Thread(target=write)
    thread.start()
    return thread, had


def test_a_turn_waits_until_the_other_process_is_through(database: str, holder: subprocess.Popen[bytes]) -> None:
    thread, had = asked_for(database)
    assert not had.wait(0.2)
    assert holder.stdin is not None
    holder.stdin.close()
    thread.join(30)
    assert had.is_set()


def test_a_process_that_is_killed_gives_its_turn_back(database: str, holder: subprocess.Popen[bytes]) -> None:
    thread, had = asked_for(database)
    assert not had.wait(0.2)
    holder.kill()
    thread.join(30)
    assert had.is_set()


def test_a_thread_that_has_the_turn_may_ask_again_and_others_wait_for_both(database: str) -> None:
    with writers_turn(database):
        with writers_turn(database):
            thread, had = asked_for(database)
        assert not had.wait(0.2)
    thread.join(30)
    assert had.is_set()


def test_a_turn_is_given_back_when_the_writer_fails(database: str) -> None:
    with pytest.raises(ValueError, match="no room"), writers_turn(database):
        raise ValueError("no room")
    thread, had = asked_for(database)
    thread.join(30)
    assert had.is_set()


def test_a_database_in_memory_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with writers_turn("file:memory?mode=memory"):
        assert not list(tmp_path.iterdir())
