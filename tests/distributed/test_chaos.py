"""Twenty seeded runs of chaos on PostgreSQL, NATS, Redis and RabbitMQ, beside the deployment's own processes.

The command dies at its planned places as exceptions within its own process; while it works, a thread kills
processes of the deployment's Celery workers, which dispatch and look after the same jobs.
"""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.distributed.live import Live, live
from tests.distributed.site import Servers, Site, new_site, up

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

RUNS, CHUNK, TASKS = 20, 5, 12
MARKED = {"HEADCOUNT_CHAOS_ALLOWED": "true", "HEADCOUNT_ACK_WAIT": "PT1S", "HEADCOUNT_DISPATCH_LEASE": "PT1S"}
BETWEEN_KILLS_SECONDS = 3.0
HALVES = [
    pytest.param(first, marks=pytest.mark.xdist_group("chaos" if first < RUNS // 2 else "more chaos"))
    for first in range(0, RUNS, CHUNK)
]


@pytest.fixture(scope="module")
def marked(private: Servers, rabbitmq_url: str) -> Iterator[Live]:
    """A whole deployment that may be broken."""
    with (
        new_site(private, HEADCOUNT_BROKER_URL=rabbitmq_url, **MARKED) as site,
        up(site) as url,
        live(site, url) as made,
    ):
        yield made


@contextmanager
def processes_killed(site: Site) -> Iterator[list[int]]:
    """Kill the youngest process of the deployment's Celery workers, again and again."""
    killed: list[int] = []
    enough = threading.Event()

    def kill() -> None:
        while not enough.wait(BETWEEN_KILLS_SECONDS):
            for pid in sorted(site.processes("celery", "worker"))[-1:]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize("first", HALVES)
def test_seeded_runs_hold_on_real_servers_while_processes_are_killed(marked: Live, first: int) -> None:
    command = ["chaos", "--deployment", "here", "--seed", first, "--runs", CHUNK, "--tasks", TASKS, "--json"]
    with processes_killed(marked.site) as killed:
        lines = marked.site.run("headcount", *map(str, command)).splitlines()
    outcomes = [json.loads(line) for line in lines]
    assert [outcome["plan"]["seed"] for outcome in outcomes] == list(range(first, first + CHUNK))
    assert all(outcome["held"] for outcome in outcomes), outcomes
    assert killed, "real processes died meanwhile"
