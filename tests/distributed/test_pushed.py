"""A sync_api job on the whole deployment: a Celery worker pushes it to a service, and is killed while it waits."""

import os
import signal
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from headcount.testing.contracts.dispatcher_script import wait_until
from tests.distributed.live import Live
from tests.distributed.timing import Took
from tests.flow.given import output
from tests.push.scripted_service import ScriptedService

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("a running deployment")]

SLUG = "pushed-blobs"
TASKS = 60


class Gate:
    """Answers each batch with what was found in it, once it is open."""

    def __init__(self) -> None:
        self.is_open = Event()
        self.is_open.set()

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.is_open.wait(60)
        found = [output(str(image["id"])) for image in body["source_images"]]
        answer = {"pipeline": SLUG, "total_time": 0.1, "source_images": body["source_images"], "errors": []}
        return 200, {**answer, "detections": [item for one in found for item in one["detections"]]}


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def service(running: Live, gate: Gate) -> Iterator[ScriptedService]:
    with ScriptedService(gate.answer).running() as scripted:
        running.site.run("headcount", "service", "add", "--name", "pushed", "--url", scripted.url, "--pipeline", SLUG)
        yield scripted
        gate.is_open.set()


def test_a_pushed_job_is_done_by_the_celery_worker_of_its_class(running: Live, service: ScriptedService) -> None:
    job_id = submit(running)
    running.wait_until_final(job_id)
    asked = [image["id"] for body in service.asked for image in body["source_images"]]
    assert len(asked) == len(set(asked)) == TASKS
    running.evidence.assert_exact(job_id, saved=TASKS)


def test_a_pushed_job_whose_celery_worker_is_killed_in_mid_batch_is_taken_up_again(
    running: Live, service: ScriptedService, gate: Gate, took: Took
) -> None:
    gate.is_open.clear()
    job_id = submit(running)
    wait_until(lambda: bool(service.asked), "a batch is with the service", 60)
    for pid in running.site.processes("celery", "worker", f"{running.site.name}.push"):
        os.kill(pid, signal.SIGKILL)
    gate.is_open.set()
    with took("killed to final"):
        running.wait_until_final(job_id)
    running.evidence.assert_exact(job_id, saved=TASKS)


def submit(running: Live) -> int:
    request = {"kind": "ml", "dispatch_mode": "sync_api", "pipeline": SLUG}
    collection = {"collection": running.collection(TASKS)}
    return int(running.api.post("jobs", {**request, "config": collection})["id"])
