"""``headcount serve`` as people use it: open to others while some wait, and hard on what no worker has to ask."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from headcount.api.work import WAITING_PLACES
from headcount.testing.waiting import PATIENCE_SECONDS, wait_until
from tests.embedded.accounts import assert_exact
from tests.embedded.system import System, result_of, run_headcount

pytestmark = pytest.mark.process

IMAGES = 12
WAITING_CLAIMS = 20
MEGABYTE = 1024 * 1024


@pytest.fixture
def job(system: System, tmp_path: Path) -> int:
    system.serve()
    return system.detection_job_of(tmp_path / "photos", IMAGES)


def waiting_claim(system: System) -> dict[str, Any]:
    """A claim of which there is nothing to be had, with a client of its own."""
    headers = {"Authorization": f"Bearer {system.token}"}
    body = {"pipelines": ["nobody-needs-this"], "wait_seconds": 30, "worker": "waiter"}
    response = httpx.post(f"{system.url}/api/v2/tasks/claim", json=body, headers=headers, timeout=PATIENCE_SECONDS)
    assert response.is_success, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_waiting_claims_leave_the_server_open_to_others(system: System, job: int) -> None:
    with ThreadPoolExecutor(WAITING_CLAIMS) as pool:
        claims = [pool.submit(waiting_claim, system) for _ in range(WAITING_CLAIMS)]
        at_once = WAITING_CLAIMS - WAITING_PLACES
        wait_until(lambda: sum(claim.done() for claim in claims) == at_once, "those without a place are answered")
        for tasks in iter(lambda: system.claim(job, 5), []):
            system.post_results(job, list(map(result_of, tasks)))
        assert_exact(system, job, IMAGES)
        assert sum(not claim.done() for claim in claims) == WAITING_PLACES, "they waited all the while"
        system.processes.latest("serve").terminate()
        assert [claim.result()["tasks"] for claim in claims] == [[]] * WAITING_CLAIMS


def test_an_address_that_is_none_is_one_line_and_code_2(tmp_path: Path) -> None:
    done = run_headcount(tmp_path / "data", "serve", "--host", "no.such.host.invalid")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_worker_fetches_an_image_from_the_address_in_its_task_and_from_no_other(
    system: System, job: int, tmp_path: Path
) -> None:
    task, other = system.claim(job, 2)
    image = httpx.get(task["image_url"])
    assert image.headers["Content-Type"] == "image/png"
    assert image.content == (tmp_path / "photos" / task["payload"]["name"]).read_bytes()
    forged = task["image_url"].replace(f"/{task['image_id']}?", f"/{other['image_id']}?")
    for address in (forged, task["image_url"].partition("?")[0], f"{task['image_url']}x"):
        refused = httpx.get(address)
        assert refused.status_code == 403
        assert refused.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("in_chunks", [False, True], ids=["with its length", "in chunks"])
def test_a_body_of_twenty_megabytes_is_refused_and_the_server_goes_on(system: System, *, in_chunks: bool) -> None:
    system.serve()
    body = (b"x" * MEGABYTE for _ in range(20)) if in_chunks else b"x" * 20 * MEGABYTE
    with closing(httpx.Client(headers={"Authorization": f"Bearer {system.token}"}, timeout=PATIENCE_SECONDS)) as client:
        response = client.post(f"{system.url}/api/v2/tasks/extend", content=body)
    assert response.status_code == 413
    if not in_chunks:
        assert response.headers["Content-Type"] == "application/problem+json"
    assert system.get("me")["project_id"] == system.project_id


def test_what_the_server_says_when_it_starts_is_enough_to_go_on(system: System) -> None:
    system.serve()
    said = system.processes.output("serve")
    assert f"{system.url}/api/v2/docs" in said
    assert str(system.data_dir) in said
    assert httpx.get(f"{system.url}/api/v2/docs").status_code == 200
