"""``headcount serve`` stops when it is told to, and finds a port or says why not."""

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from headcount.cli.serve import DEFAULT_PORT
from headcount.testing.waiting import wait_until
from tests.embedded.accounts import assert_audit_clean, assert_ledger_exact
from tests.embedded.system import Processes, System, processes_of, run_headcount

pytestmark = pytest.mark.process

IMAGES = 600
LARGE = (4000, 4000)
"""The size of an image that takes some 20 ms to read: all of them take longer than a server may take to stop."""

A_FEW_SECONDS = 10.0


def nobody_listens_on(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def poll_for_tasks(system: System) -> Any:
    """Wait for tasks that never come, for as long as the server lets a claim wait."""
    return system.post("tasks/claim", {"pipelines": ["none"], "worker": "patient", "wait_seconds": 30})


def start_import(system: System, folder: Path) -> int:
    """An import that is under way, of more images than can be read in a moment: one file with many names."""
    folder.mkdir()
    Image.new("L", LARGE).save(folder / "00000.png")
    for position in range(1, IMAGES):
        (folder / f"{position:05}.png").hardlink_to(folder / "00000.png")
    job = system.start_import(folder)
    wait_until(lambda: system.states(job).get("saved"), "the import is under way")
    return job


def make_small(image: Path) -> None:
    """Change a file under all its names, so that the rest is read in a moment."""
    small = BytesIO()
    Image.new("L", (8, 8)).save(small, "png")
    image.write_bytes(small.getvalue())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_busy_server_in_good_order_and_the_next_one_goes_on(
    system: System, tmp_path: Path, number: signal.Signals
) -> None:
    server = system.serve(HEADCOUNT_DISPATCH_LEASE="3600")
    with ThreadPoolExecutor(1) as pool:
        claim = pool.submit(poll_for_tasks, system)
        wait_until(lambda: system.rows("SELECT 1 FROM headcount_worker WHERE name = 'patient'"), "the claim waits")
        job = start_import(system, tmp_path / "photos")
        server.send_signal(number)
        assert server.wait(A_FEW_SECONDS) == 0
        assert claim.result()["tasks"] == [], "the claim that waited was answered"
    assert "Traceback" not in system.processes.complaints("serve")
    assert processes_of(system.data_dir) == {}
    assert nobody_listens_on(system.port)
    assert 0 < system.states(job)["saved"] < IMAGES, "it stopped in the midst of the import"
    make_small(tmp_path / "photos" / "00000.png")
    system.serve(HEADCOUNT_DISPATCH_LEASE="3600")
    system.wait_for(job, "SUCCESS")
    assert_ledger_exact(system, job, IMAGES)
    assert_audit_clean(system, job, IMAGES)
    assert system.number("SELECT max(attempts) FROM headcount_task WHERE job_id = ?", job) == 1, "none done twice"


def test_a_server_obeys_from_the_moment_it_says_its_address(processes: Processes, free_port: int) -> None:
    server = processes.start("serve", "serve", "--port", str(free_port))
    announced(processes, "serve")
    server.terminate()
    assert server.wait(A_FEW_SECONDS) == 0, processes.complaints("serve")


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


def test_an_explicit_port_that_is_taken_is_one_line_and_code_2(taken_port: int, tmp_path: Path) -> None:
    done = run_headcount(tmp_path / "data", "serve", "--port", str(taken_port))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"headcount: cannot listen on 127.0.0.1:{taken_port}: ")
    assert "--port" in line


def announced(processes: Processes, name: str) -> str:
    """The address that a server says it has."""
    server = processes.latest(name)

    def first_line() -> str:
        assert server.poll() is None, processes.complaints(name)
        return processes.output(name).partition("\n")[0]

    return str(wait_until(first_line, "the server says its address")).removeprefix("Headcount serves ")


@pytest.fixture
def default_port_is_taken() -> Iterator[None]:
    """By this test, unless somebody was faster."""
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with other:
        try:
            other.bind(("127.0.0.1", DEFAULT_PORT))
            other.listen()
        except OSError:
            assert not nobody_listens_on(DEFAULT_PORT)
        yield


@pytest.mark.usefixtures("default_port_is_taken")
def test_two_servers_started_at_once_find_a_free_port_each(processes: Processes) -> None:
    names = ("one", "two")
    for name in names:
        processes.start(name, "serve")
    urls = [announced(processes, name) for name in names]
    ports = [int(url.rpartition(":")[2]) for url in urls]
    assert min(ports) > DEFAULT_PORT
    assert len(set(ports)) == len(names)
    for url in urls:
        wait_until(lambda url=url: answers(url), f"{url} answers")


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/docs", verify=False).is_success
    except httpx.TransportError:
        return False
