"""``headcount demo`` leaves nothing behind, however it is interrupted."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from headcount.testing.waiting import wait_until
from tests.embedded.system import Processes, processes_of

pytestmark = pytest.mark.process

STOPS_WITHIN_SECONDS = 9.0
"""Less than the demo waits for a process before it kills it."""


def start_demo(processes: Processes) -> subprocess.Popen[bytes]:
    return processes.start("demo", "demo", "--images", "6", "--workers", "1", "--data-dir", str(processes.data_dir))


def server_is_there(data_dir: Path) -> bool:
    return any(" serve" in command for command in processes_of(data_dir).values())


def worker_holds_tasks(data_dir: Path) -> bool:
    if not (data_dir / "logs" / "worker-1.log").exists():
        return False
    with closing(sqlite3.connect(data_dir / "headcount.sqlite3", timeout=20)) as connection:
        held = "SELECT 1 FROM headcount_task WHERE state = 'leased' AND worker != 'dispatcher'"
        return connection.execute(held).fetchone() is not None


def only_the_demo(demo: subprocess.Popen[bytes]) -> None:
    demo.send_signal(signal.SIGINT)


def everybody_as_a_terminal_does(demo: subprocess.Popen[bytes]) -> None:
    os.killpg(demo.pid, signal.SIGINT)


def again_and_again(demo: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: demo.poll() is not None or demo.send_signal(signal.SIGINT), "the demo has ended")


@pytest.mark.parametrize("interrupt", [only_the_demo, everybody_as_a_terminal_does, again_and_again])
def test_ctrl_c_while_the_server_comes_up_leaves_nothing_running(
    processes: Processes, interrupt: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    demo = start_demo(processes)
    wait_until(lambda: server_is_there(processes.data_dir), "the server is there")
    interrupt(demo)
    assert demo.wait(STOPS_WITHIN_SECONDS) == 130
    assert processes_of(processes.data_dir) == {}
    assert "Traceback" not in processes.complaints("demo")


def test_ctrl_c_in_mid_run_leaves_nothing_running_and_a_second_run_succeeds(processes: Processes) -> None:
    demo = start_demo(processes)
    wait_until(lambda: worker_holds_tasks(processes.data_dir), "the worker holds tasks")
    only_the_demo(demo)
    assert demo.wait(STOPS_WITHIN_SECONDS) == 130
    assert processes_of(processes.data_dir) == {}
    said = len(processes.output("demo"))
    assert start_demo(processes).wait(100) == 0, processes.complaints("demo")
    output = processes.output("demo")[said:]
    assert "SUCCESS  job" in output
    assert "0 failed / 6 = 0.0000 <= 0.5" in output
    assert ": N = 6 = 0 waiting + 0 leased + 0 received + 6 saved + 0 failed + 0 cancelled: clean" in output
    assert processes_of(processes.data_dir) == {}


def test_a_demo_that_is_killed_takes_its_processes_along(processes: Processes) -> None:
    demo = start_demo(processes)
    wait_until(lambda: "serves http" in processes.output("demo"), "the server is up")
    assert set(processes_of(processes.data_dir)) > {demo.pid}, "there is more than the demo to take along"
    demo.kill()
    demo.wait()
    wait_until(lambda: processes_of(processes.data_dir) == {}, "nothing is left running", STOPS_WITHIN_SECONDS)
