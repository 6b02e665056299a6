"""RabbitMQ away, and Celery workers killed, while a dispatch is under way."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from headcount.testing.contracts.dispatcher_script import wait_until
from tests.distributed.live import Live
from tests.distributed.proxy import Proxy
from tests.distributed.timing import Took

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("a running deployment")]

TASKS = 100
CELERY_PROCESSES = 6
"""One for each class of work, and beat; the processes of their pools hold no connection."""


@pytest.fixture
def proxy(rabbitmq_url: str, running: Live) -> Iterator[Proxy]:
    """What all connections of the running deployment to RabbitMQ go through; mended in the end."""
    yield proxy_of(running)
    proxy_of(running).mend()
    wait_until(lambda: proxy_of(running).connections >= CELERY_PROCESSES, "all are connected again", 60)


def test_a_job_submitted_while_rabbitmq_is_away_is_dispatched_when_it_is_back(
    running: Live, proxy: Proxy, took: Took
) -> None:
    assert proxy.cut() > 0
    job_id = running.submit(TASKS)
    failures = beats_failed(running)
    wait_until(lambda: beats_failed(running) >= failures + 2, "the clock of the health checks has met it, too", 60)
    assert running.api.status(job_id) == "CREATED", "accepted, and left in the outbox"
    proxy.mend()
    with took("RabbitMQ back to final"), running.crew(job_id):
        running.wait_until_final(job_id)
    running.evidence.assert_exact(job_id, saved=TASKS)


def test_connections_to_rabbitmq_cut_in_the_middle_of_a_dispatch_do_not_double_or_lose_it(
    running: Live, proxy: Proxy, took: Took
) -> None:
    with dispatch_in_its_middle(running) as job_id:
        assert proxy.cut() > 0
    proxy.mend()
    with took("RabbitMQ back to final"), running.crew(job_id):
        running.wait_until_final(job_id)
    running.evidence.assert_exact(job_id, saved=TASKS)
    assert running.evidence.events(job_id, "job.collected") == 1


@pytest.mark.parametrize("whom", ["the whole worker", "only the process at work"])
def test_a_dispatch_whose_celery_worker_is_killed_is_taken_up_again(
    running: Live, proxy: Proxy, whom: str, took: Took
) -> None:
    with dispatch_in_its_middle(running) as job_id:
        workers = dispatch_workers(running)
        is_victim: Callable[[int], bool] = {
            "the whole worker": lambda pid: True,
            "only the process at work": lambda pid: pid != min(workers),
        }[whom]
        for pid in filter(is_victim, workers):
            os.kill(pid, signal.SIGKILL)
    with took("killed to final"), running.crew(job_id):
        running.wait_until_final(job_id)
    begun = "SELECT begun FROM headcount_celery_dispatch WHERE job_id = %s"
    assert running.evidence.value(begun, job_id) >= 2
    running.evidence.assert_exact(job_id, saved=TASKS)


@contextmanager
def dispatch_in_its_middle(running: Live) -> Iterator[int]:
    """Submit a job whose dispatcher has collected and cannot publish, because NATS is frozen; it thaws in the end."""
    running.collection(TASKS)
    running.site.servers.nats.pause()
    try:
        job_id = running.submit(TASKS)
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


def beats_failed(running: Live) -> int:
    return running.site.log("up").count("Message Error: Couldn't apply scheduled task")


def proxy_of(running: Live) -> Proxy:
    assert running.proxy is not None
    return running.proxy
