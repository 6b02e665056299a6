"""The further processes of ``headcount serve`` that answer requests: they share the work, are replaced, and leave."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from headcount.testing.waiting import wait_until
from tests.embedded.accounts import assert_exact
from tests.embedded.system import System, processes_of, result_of

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="looks at processes as Linux shows them"),
]
PROCESSES = 3
IMAGES = 24
TICKED = "headcount_health_tick_timestamp_seconds 1"


@pytest.fixture
def server(system: System) -> int:
    """The process that a user started."""
    return system.serve(processes=PROCESSES).pid


@pytest.fixture
def clients(system: System, server: int) -> Iterator[list[httpx.Client]]:
    """Clients that keep the connection of their first request."""
    headers = {"Authorization": f"Bearer {system.token}"}
    with ExitStack() as stack:
        yield [stack.enter_context(httpx.Client(base_url=system.url, headers=headers)) for _ in range(3 * PROCESSES)]


def test_connections_are_spread_over_the_processes(system: System, server: int, clients: list[httpx.Client]) -> None:
    assert all(client.get("/api/v2/me").is_success for client in clients)
    held = [connections(process, system.port) for process in (server, *started_by(server))]
    assert len(held) == PROCESSES
    assert sum(held) == len(clients)
    assert min(held) > 0, held


def test_every_process_tells_the_metrics_of_all(system: System, server: int, clients: list[httpx.Client]) -> None:
    wait_until(lambda: TICKED in httpx.get(f"{system.url}/metrics").text, "the first tick")
    assert all(TICKED in client.get("/metrics").text for client in clients)
    assert min(connections(process, system.port) for process in (server, *started_by(server))) > 0


def test_killed_web_processes_are_replaced_and_the_job_goes_on(system: System, server: int, tmp_path: Path) -> None:
    job = system.detection_job_of(tmp_path / "photos", IMAGES)
    before = started_by(server)
    assert len(before) == PROCESSES - 1
    for process in before:
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: len(started_by(server) - before) == PROCESSES - 1, "others are in their place")
    for tasks in iter(lambda: system.claim(job, 5), []):
        system.post_results(job, list(map(result_of, tasks)))
    assert_exact(system, job, IMAGES)
    assert "web_process.ended" in system.processes.complaints("serve")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_web_processes_end_with_the_server(system: System, server: int, number: signal.Signals) -> None:
    assert len(started_by(server)) == PROCESSES - 1
    process = system.processes.latest("serve")
    process.send_signal(number)
    assert process.wait() == (-number if number is signal.SIGKILL else 0)
    wait_until(lambda: not processes_of(system.data_dir), "nothing is left running")
    assert "Traceback" not in system.processes.complaints("serve")


def started_by(pid: int) -> set[int]:
    """The running processes that a process has started."""
    of_threads = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for children in of_threads for child in children.read_text().split()}


def connections(pid: int, port: int) -> int:
    """How many connections to a port a process holds."""
    of_port = {inode for local, state, inode in tcp_sockets() if state == "01" and int(local[-4:], 16) == port}
    held = {str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir() if descriptor.is_symlink()}
    return len({f"socket:[{inode}]" for inode in of_port} & held)


def tcp_sockets() -> list[tuple[str, str, str]]:
    """Local address, state and inode of every TCP socket of the machine, as Linux writes them."""
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    return [(fields[1], fields[3], fields[9]) for fields in map(str.split, lines)]
