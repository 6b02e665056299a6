"""RabbitMQ away, cut off or killed, and Celery workers killed, while a dispatch is under way."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from headcount.testing.servers import PrivateServer
from headcount.testing.waiting import wait_until
from tests.distributed.accidents import dispatch_in_its_middle, dispatch_workers
from tests.distributed.live import Live
from tests.distributed.proxy import Proxy
from tests.distributed.timing import Took
from tests.servers import need

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("a running deployment")]

TASKS = 100
CELERY_PROCESSES = 6
"""One for each class of work, and beat; the processes of their pools hold no connection."""


@pytest.fixture
def proxy(running: Live) -> Iterator[Proxy]:
    """What all connections of the running deployment to RabbitMQ go through; mended in the end."""
    proxy = running.proxy
    if proxy is None:
        need("no RabbitMQ on this machine, and none answers")
    yield proxy
    proxy.mend()
    wait_until(lambda: proxy.connections >= CELERY_PROCESSES, "all are connected again", 60)


@pytest.fixture
def broker(running: Live) -> Iterator[PrivateServer]:
    """The RabbitMQ of the running deployment, for a test that kills it and starts it again."""
    if running.broker is None or running.proxy is None:
        need("no rabbitmq-server on this machine: apt install rabbitmq-server")
    proxy = running.proxy
    yield running.broker
    wait_until(lambda: proxy.connections >= CELERY_PROCESSES, "all are connected again", 60)


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
    with dispatch_in_its_middle(running, TASKS) as job_id:
        assert proxy.cut() > 0
    proxy.mend()
    with took("RabbitMQ back to final"), running.crew(job_id):
        running.wait_until_final(job_id)
    running.evidence.assert_exact(job_id, saved=TASKS)
    assert running.evidence.events(job_id, "job.collected") == 1


def test_a_rabbitmq_that_is_killed_and_comes_back_costs_neither_a_job_nor_a_dispatch(
    running: Live, broker: PrivateServer, took: Took
) -> None:
    under_way = running.submit_published(TASKS)
    with running.crew(under_way, hold_at=TASKS // 2) as crew:
        crew.wait_until_held()
        with dispatch_in_its_middle(running, TASKS) as job_id:
            broker.kill()
        try:
            crew.go_on()
            running.wait_until_final(under_way)
            later = running.submit(TASKS)
            assert running.api.status(later) == "CREATED", "accepted, and left in the outbox"
        finally:
            broker.start()
    with took("RabbitMQ back to final"), running.crew(job_id), running.crew(later):
        running.wait_until_final(job_id)
        running.wait_until_final(later)
    for each in (under_way, job_id, later):
        running.evidence.assert_exact(each, saved=TASKS)
        assert running.evidence.events(each, "job.collected") == 1


@pytest.mark.parametrize("whom", ["the whole worker", "only the process at work"])
def test_a_dispatch_whose_celery_worker_is_killed_is_taken_up_again(running: Live, whom: str, took: Took) -> None:
    with dispatch_in_its_middle(running, TASKS) as job_id:
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


def beats_failed(running: Live) -> int:
    return running.site.log("up").count("Message Error: Couldn't apply scheduled task")
