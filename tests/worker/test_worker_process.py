"""The worker as a real process, against a real server on a real port."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from worker_fakes import TOKEN, FakeServer, Gate, RealServer, task

import headcount_worker

pytestmark = pytest.mark.process

SOURCE_FOLDER = Path(headcount_worker.__file__).parents[1]
PIPELINE = """
import urllib.request
from headcount_worker import Detection, pipeline

@pipeline(slug="gated")
def find(image):
    urllib.request.urlopen("{gate}").read()
    return [Detection.at(0, 0, 1, 1, label=image.id)]
"""


class Process:
    """A worker process whose stderr is read as it comes."""

    def __init__(self, *arguments, folder):
        environment = os.environ | {"PYTHONPATH": str(SOURCE_FOLDER), "PYTHONWARNINGS": "error"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "headcount_worker", *arguments], stderr=subprocess.PIPE, cwd=folder, env=environment
        )
        self.lines = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def signal(self, number):
        self._process.send_signal(number)

    def wait_for(self, words):
        with self._changed:
            seen = self._changed.wait_for(lambda: any(words in line for line in self.lines), 20)
        assert seen, self.lines

    def exit_code(self):
        code = self._process.wait(20)
        self._reader.join(20)
        return code

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
        self.exit_code()
        self._process.stderr.close()

    def _read(self):
        for line in self._process.stderr:
            with self._changed:
                self.lines.append(line.decode())
                self._changed.notify_all()


@pytest.fixture
def fake():
    return FakeServer()


@pytest.fixture
def api(fake):
    real = RealServer(fake).start()
    yield real
    real.stop()


@pytest.fixture
def gate():
    made = Gate()
    real = RealServer(made).start()
    made.url = real.url
    yield made
    made.open.set()
    real.stop()


@pytest.fixture
def start(api, gate, tmp_path):
    started = []
    (tmp_path / "gated.py").write_text(PIPELINE.format(gate=gate.url))

    def start(*arguments, token=TOKEN):
        fixed = ("--server", api.url, "--token", token, "--pipeline", "gated.py:find")
        started.append(Process(*fixed, *arguments, folder=tmp_path))
        return started[-1]

    yield start
    gate.open.set()
    for process in started:
        process.end()


def test_a_worker_does_its_work_and_says_so(start, fake, gate):
    gate.open.set()
    fake.offer(7, [task(1), task(2)])
    process = start("--exit-when-idle", "0")
    assert process.exit_code() == 0
    assert fake.posted_leases() == ["lease-1", "lease-2"]
    said = "".join(process.lines)
    assert all(word in said for word in ("registered", "claimed", "posted", "saved"))
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_what_was_not_begun_is_released(start, fake, gate, number):
    fake.offer(7, [task(1), task(2)])
    fake.offer(7, [task(3), task(4)])
    process = start()
    assert gate.reached.wait(20)
    fake.wait_for(lambda: fake.count("image") == 4)
    process.signal(number)
    process.wait_for("draining")
    gate.open.set()
    assert process.exit_code() == 0
    assert fake.posted_leases() == ["lease-1"]
    assert sorted(fake.released) == ["lease-2", "lease-3", "lease-4"]


def test_a_second_signal_exits_at_once(start, fake, gate):
    fake.offer(7, [task(1)])
    process = start()
    assert gate.reached.wait(20)
    process.signal(signal.SIGTERM)
    process.wait_for("draining")
    process.signal(signal.SIGTERM)
    assert process.exit_code() == 128 + signal.SIGTERM
    assert fake.posted == []


def test_an_idle_worker_ends_on_a_signal(start, fake):
    process = start()
    fake.wait_for(lambda: fake.count("claim") >= 1)
    process.signal(signal.SIGTERM)
    assert process.exit_code() == 0


def test_a_server_that_goes_and_comes_back_costs_no_computed_result(start, fake, api, gate):
    fake.offer(7, [task(1), task(2)])
    process = start("--once")
    assert gate.reached.wait(20)
    fake.wait_for(lambda: fake.count("image") == 2)
    api.stop()
    gate.open.set()
    process.wait_for("server away")
    api.start()
    assert process.exit_code() == 0
    process.wait_for("server back")
    assert fake.posted_leases() == ["lease-1", "lease-2"]


def test_a_server_that_is_not_there_yet_is_waited_for(start, fake, api, gate):
    api.stop()
    process = start("--exit-when-idle", "0")
    process.wait_for("server away")
    api.start()
    assert process.exit_code() == 0


def test_a_wrong_token_is_one_line_and_code_2(start):
    process = start(token="wrong")
    assert process.exit_code() == 2
    assert len(process.lines) == 1
    assert "unknown token" in process.lines[0]
