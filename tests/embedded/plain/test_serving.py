"""``headcount serve`` as people run it: ports, signals, and a server that stays open to others while some wait."""

import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest

from headcount.api.work import WAITING_PLACES
from tests.embedded.plain.conftest import IMAGES
from tests.embedded.plain.pipelines import little
from tests.embedded.plain.system import INT, SLUG, TERM, assert_every_task_done_once, wait_until, work_through

pytestmark = pytest.mark.process

PROMPTLY = 8.0
WAITING_CLAIMS = 20


@pytest.fixture
def threads():
    with ThreadPoolExecutor(WAITING_CLAIMS + 1) as pool:
        yield pool


def waiting_claim(client, seconds):
    """A claim of which there is nothing to be had."""
    body = {"pipelines": ["nobody-needs-this"], "wait_seconds": seconds, "worker": "waiter"}
    return client.request("POST", "tasks/claim", json=body)


@pytest.mark.parametrize("number", [TERM, INT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_stops_the_server_promptly_though_a_claim_waits_and_leaves_nothing_running(
    deployment, threads, number
):
    server = deployment.serve()
    client, waiting = deployment.client(), deployment.client()
    claim = threads.submit(waiting_claim, waiting, 30)
    wait_until(lambda: is_noted(deployment, "waiter"), "the claim to be under way")
    assert client.get("me")["project_id"] == deployment.project_id
    assert not claim.done()
    begun = time.monotonic()
    server.signal(number)
    assert server.exit_code(PROMPTLY) == 0
    assert time.monotonic() - begun < PROMPTLY
    assert claim.result(PROMPTLY).json()["tasks"] == []
    assert not server.left_something_running
    assert server.err == ""


def is_noted(deployment, worker):
    """Whether the server has written down that it saw this worker, which is the first thing a claim does."""
    with closing(sqlite3.connect(deployment.data / "headcount.sqlite3", timeout=PROMPTLY)) as database:
        return database.execute("SELECT 1 FROM headcount_worker WHERE name = ?", (worker,)).fetchone()


def test_waiting_claims_leave_the_server_open_to_others(deployment, threads):
    server = deployment.serve()
    clients = [deployment.client() for _ in range(WAITING_CLAIMS)]
    claims = [threads.submit(waiting_claim, client, 30) for client in clients]
    wait_until(lambda: sum(claim.done() for claim in claims) == WAITING_CLAIMS - WAITING_PLACES, "the claims to wait")
    worker = deployment.client()
    job_id = deployment.submit(worker)
    work_through(worker, job_id, 10)
    assert_every_task_done_once(worker, job_id, IMAGES)
    assert sum(not claim.done() for claim in claims) == WAITING_PLACES, "they waited all the while"
    server.signal(TERM)
    assert {claim.result(PROMPTLY).status_code for claim in claims} == {200}


def test_a_taken_port_gives_the_next_free_one(deployment):
    taken = [listener for listener in [try_to_take(8000)] if listener]
    try:
        server = deployment.serve("--host", "127.0.0.1")
        assert not server.url.endswith(":8000")
        client = deployment.client(server.url)
        assert client.get("me")["project_id"] == deployment.project_id
    finally:
        for listener in taken:
            listener.close()


def try_to_take(port):
    """Take a port, unless somebody else has it already."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


def test_a_taken_port_that_was_asked_for_is_one_line_and_code_2(deployment):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        process = deployment.run("serve", "--port", port)
        assert process.exit_code() == 2
    assert process.err.count("\n") == 1
    assert f"127.0.0.1:{port}" in process.err
    assert "--port" in process.err
    assert process.out == ""


def test_an_address_that_is_none_is_one_line_and_code_2(deployment):
    process = deployment.run("serve", "--host", "no.such.host.invalid")
    assert process.exit_code() == 2
    assert process.err.count("\n") == 1


def test_a_worker_fetches_an_image_from_the_address_in_its_task_and_from_no_other(deployment, photos):
    deployment.serve()
    client = deployment.client()
    job_id = deployment.submit(client)
    task, other = wait_until(lambda: client.claim(job_id, 2), "tasks")
    image = httpx.get(task["image_url"])
    assert image.headers["Content-Type"] == "image/png"
    assert image.content == (photos / task["payload"]["name"]).read_bytes()
    forged = task["image_url"].replace(f"/{task['image_id']}?", f"/{other['image_id']}?")
    for address in (forged, task["image_url"].partition("?")[0], f"{task['image_url']}x"):
        refused = httpx.get(address)
        assert refused.status_code == 403
        assert refused.headers["Content-Type"] == "application/problem+json"


def test_a_body_of_twenty_megabytes_is_refused_and_the_server_goes_on(deployment):
    deployment.serve()
    client = deployment.client()
    job_id = deployment.submit(client)
    response = client.request("POST", f"jobs/{job_id}/result", content=b"x" * 20 * 1024 * 1024)
    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"
    assert client.status(job_id) in {"PENDING", "STARTED"}


def test_a_body_sent_in_chunks_is_held_to_the_same_limit(deployment):
    deployment.serve()
    client = deployment.client()
    response = client.request("POST", "tasks/extend", content=(b"x" * 1024 * 1024 for _ in range(20)))
    assert response.status_code == 413


def test_several_workers_share_a_job(deployment):
    deployment.serve()
    client = deployment.client()
    job_id = deployment.submit(client)
    workers = [deployment.worker("--batch-size", 5, "--exit-when-idle", 2, "--name", f"box-{n}") for n in range(2)]
    assert client.final_status(job_id) == "SUCCESS"
    assert_every_task_done_once(client, job_id, IMAGES)
    assert [worker.exit_code() for worker in workers] == [0, 0]


def test_what_the_server_says_when_it_starts_is_enough_to_go_on(deployment):
    server = deployment.serve()
    assert f"{server.url}/api/v2/docs" in server.out
    assert str(deployment.data) in server.out
    assert httpx.get(f"{server.url}/api/v2/docs").status_code == 200


def test_the_slug_of_the_tests_is_that_of_their_pipeline():
    assert little.slug == SLUG
