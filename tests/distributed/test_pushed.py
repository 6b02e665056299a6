"""A sync_api job on the whole deployment: a Celery worker pushes it to a service, and is killed while it waits."""

import os
import signal
from collections.abc import Iterator

import pytest

from headcount.testing.waiting import wait_until
from tests.distributed.live import Live
from tests.distributed.pushing import Gate, push_service, submit_pushed
from tests.distributed.timing import Took
from tests.push.scripted_service import ScriptedService

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("a running deployment")]

TASKS = 60


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def service(running: Live, gate: Gate) -> Iterator[ScriptedService]:
    with push_service(running, gate) as scripted:
        yield scripted


def test_a_pushed_job_is_done_by_the_celery_worker_of_its_class(running: Live, service: ScriptedService) -> None:
    job_id = submit_pushed(running, TASKS)
    running.wait_until_final(job_id)
    asked = [image["id"] for body in service.asked for image in body["source_images"]]
    assert len(asked) == len(set(asked)) == TASKS
    running.evidence.assert_exact(job_id, saved=TASKS)


def test_a_pushed_job_whose_celery_worker_is_killed_in_mid_batch_is_taken_up_again(
    running: Live, service: ScriptedService, gate: Gate, took: Took
) -> None:
    gate.close()
    job_id = submit_pushed(running, TASKS)
    wait_until(lambda: bool(service.asked), "a batch is with the service", 60)
    for pid in running.site.processes("celery", "worker", f"{running.site.name}.push"):
        os.kill(pid, signal.SIGKILL)
    gate.is_open.set()
    with took("killed to final"):
        running.wait_until_final(job_id)
    running.evidence.assert_exact(job_id, saved=TASKS)
