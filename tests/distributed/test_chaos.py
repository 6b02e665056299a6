"""Twenty seeded runs of chaos on PostgreSQL, NATS, Redis and RabbitMQ, beside the deployment's own processes.

Where a plan kills a web process, one that holds a batch over HTTP is killed by signal 9; where it cuts the broker off,
every connection of the deployment to RabbitMQ is broken. Dispatchers die as exceptions within the command; while it
works, a thread kills processes of the deployment's Celery workers, which dispatch and look after the same jobs.
"""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from headcount.testing.chaos.plan import Trouble
from tests.distributed.faulty_web import KILLED
from tests.distributed.live import Live, live
from tests.distributed.proxy import Proxy, obeying, proxied
from tests.distributed.site import Servers, Site, faulty_web_host, new_site, up

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

RUNS, CHUNK, TASKS = 20, 5, 12
MARKED = {"HEADCOUNT_CHAOS_ALLOWED": "true", "HEADCOUNT_ACK_WAIT": "PT1S", "HEADCOUNT_DISPATCH_LEASE": "PT1S"}
CERTAIN = {"after queue.claim"}
"""Where every web process comes by that a plan kills; to the others it may come without a task, or after the end."""
BETWEEN_KILLS_SECONDS = 3.0
HALVES = [
    pytest.param(first, marks=pytest.mark.xdist_group("chaos" if first < RUNS // 2 else "more chaos"))
    for first in range(0, RUNS, CHUNK)
]


@pytest.fixture(scope="module")
def marked(private: Servers, rabbitmq_url: str) -> Iterator[Live]:
    """A whole deployment that may be broken."""
    with (
        proxied(rabbitmq_url) as (broker_url, proxy),
        new_site(private, HEADCOUNT_BROKER_URL=broker_url, **MARKED) as site,
        up(site) as url,
        live(site, url, proxy=proxy) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def mortal_web(marked: Live) -> Iterator[str]:
    """The address of one more web host, whose processes are killed where a plan says."""
    with faulty_web_host(marked.site) as url:
        yield url


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
def test_seeded_runs_hold_on_real_servers_while_processes_are_killed(marked: Live, mortal_web: str, first: int) -> None:
    site, proxy = marked.site, proxy_of(marked)
    arguments = ["--deployment", "here", "--seed", first, "--runs", CHUNK, "--tasks", TASKS, "--json"]
    times_cut, web_killed = proxy.times_cut, site.log("faulty-web").count(KILLED)
    with processes_killed(site) as killed, obeying(proxy) as descriptor:
        command = [mortal_web, site.faults.directory, descriptor, *arguments]
        output = site.run("tests.distributed.chaos_there", *map(str, command), pass_fds=[descriptor])
    outcomes = [json.loads(line) for line in output.splitlines()]
    assert [outcome["plan"]["seed"] for outcome in outcomes] == list(range(first, first + CHUNK))
    assert all(outcome["held"] for outcome in outcomes), outcomes
    assert killed, "real processes died meanwhile"
    faults = [fault for outcome in outcomes for fault in outcome["plan"]["faults"]]
    cuts = [fault["after"] for fault in faults if fault["trouble"] == Trouble.CUT_BROKER.name]
    assert cuts.count(0) <= proxy.times_cut - times_cut <= len(cuts), "some jobs end before their broker is away"
    places = [fault["place"] for fault in faults if fault["trouble"] == Trouble.KILL_WEB.name]
    certain = sum(place in CERTAIN for place in places)
    assert certain <= site.log("faulty-web").count(KILLED) - web_killed <= len(places)


def proxy_of(marked: Live) -> Proxy:
    assert marked.proxy is not None
    return marked.proxy
