"""The further processes of ``headcount serve`` that answer requests: they share the work, are replaced, and leave."""

import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from statistics import median

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
ROUNDS, EACH = 3, 8
IMAGES = 24
TICKED = "headcount_health_tick_timestamp_seconds 1"


@pytest.fixture
def server(system: System) -> int:
    """The process that a user started."""
    return system.serve(processes=PROCESSES).pid


def test_connections_are_spread_over_the_processes(system: System, server: int) -> None:
    """Mostly: a process that the machine keeps from running for a while misses its share of one round."""
    rounds = [shares(system, server, EACH * PROCESSES) for _ in range(ROUNDS)]
    assert all(len(held) == PROCESSES and sum(held) == EACH * PROCESSES for held in rounds)
    assert median(max(held) for held in rounds) <= EACH + 2, rounds


def test_every_process_tells_the_metrics_of_all(system: System, server: int) -> None:
    wait_until(lambda: TICKED in httpx.get(f"{system.url}/metrics", verify=False).text, "the first tick")
    with ExitStack() as stack:

        def one_more_is_told() -> bool:
            client = stack.enter_context(httpx.Client(base_url=system.url, verify=False))
            assert TICKED in client.get("/metrics").text
            return min(connections_of_each(system, server)) > 0

        wait_until(one_more_is_told, "each process has answered")


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


def shares(system: System, server: int, clients: int) -> list[int]:
    """How many of so many clients, who come together and stay, each process has taken."""
    with ExitStack() as stack:
        for _ in range(clients):
            stack.enter_context(socket.create_connection(("127.0.0.1", system.port)))
        wait_until(lambda: sum(connections_of_each(system, server)) == clients, "every connection is taken")
        return connections_of_each(system, server)


def connections_of_each(system: System, server: int) -> list[int]:
    return [connections(process, system.port) for process in (server, *started_by(server))]


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
