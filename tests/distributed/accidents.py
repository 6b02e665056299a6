"""What happens to the processes and servers of a deployment while a crew is at work."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from headcount.testing.servers import PrivateServer
from headcount.testing.waiting import wait_until
from tests.distributed.clients import Crew
from tests.distributed.live import Live
from tests.distributed.proc import connections_at, parent_of

NATS_IS_DOWN_SECONDS = 5


@contextmanager
def held_crew(on: Live, tasks: int, *, workers: int, batch: int, pause: float = 0.05) -> Iterator[tuple[int, Crew]]:
    """Submit a job and have a crew stand still with batches in its hands, once a quarter is saved."""
    job_id = on.submit_published(tasks)
    with on.crew(job_id, workers=workers, batch=batch, hold_at=tasks // 4, pause=pause) as crew:
        crew.wait_until_held()
        yield job_id, crew


def web_process_dies_at_work(running: Live, crew: Crew, enough: int) -> None:
    """Kill one of two web processes with the results of a held crew in its hands, the others' are answered.

    Where all connections have come to this one, nobody is answered; else so many results are saved before it dies.
    """
    victim = _busiest_web_process(running)
    os.kill(victim, signal.SIGSTOP)
    crew.go_on()
    try:
        wait_until(
            lambda: crew.posting == crew.workers or (crew.posting > 0 and crew.saved > enough),
            "posts wait, while others are answered where there are others",
        )
    finally:
        os.kill(victim, signal.SIGKILL)


def _busiest_web_process(running: Live) -> int:
    """Of the two web processes the one with more connections to workers."""
    port = httpx.URL(running.api.url).port or 0
    processes = running.site.processes("granian", str(port))
    workers = [pid for pid in processes if parent_of(pid) in processes]
    assert len(workers) == 2
    return max(workers, key=lambda pid: connections_at(port, pid))


def nats_is_killed_for_a_while(nats: PrivateServer, crew: Crew) -> None:
    """Kill NATS under a held crew that goes on then, and start it again seconds later."""
    nats.kill()
    back_at = time.monotonic() + NATS_IS_DOWN_SECONDS
    try:
        crew.go_on()
        wait_until(lambda: crew.refused[503] > 0, "workers are told that the queue does not answer")
        wait_until(lambda: time.monotonic() >= back_at, "it was down long enough", NATS_IS_DOWN_SECONDS + 1)
    finally:
        nats.start()


@contextmanager
def dispatch_in_its_middle(running: Live, tasks: int) -> Iterator[int]:
    """Submit a job whose dispatcher has collected and cannot publish, because NATS is frozen; it thaws in the end."""
    running.collection(tasks)
    running.site.servers.nats.pause()
    try:
        job_id = running.submit(tasks)
        collected = "SELECT task_total IS NOT NULL FROM headcount_job WHERE id = %s"
        wait_until(lambda: running.evidence.value(collected, job_id), "the job is collected", 60)
        yield job_id
        published = "SELECT published_at IS NOT NULL FROM headcount_job WHERE id = %s"
        assert not running.evidence.value(published, job_id), "the fault came in the middle"
    finally:
        running.site.servers.nats.resume()


def dispatch_workers(running: Live) -> list[int]:
    """The worker for dispatches and the process that it has do them."""
    found = sorted(running.site.processes("celery", "worker", f"{running.site.name}.dispatch"))
    assert len(found) >= 2
    return found
