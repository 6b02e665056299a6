"""Processes killed in the middle of their work: the job succeeds, every task is done, nothing is done twice."""

import threading

import pytest

from tests.embedded.plain.conftest import IMAGES
from tests.embedded.plain.kinds import HELD_IMAGE, NUMBERS
from tests.embedded.plain.system import (
    SLUG,
    TERM,
    assert_every_task_done_once,
    result_for,
    wait_until,
    work_through,
)

pytestmark = pytest.mark.process


def reached(deployment):
    """Wait until a process of the deployment holds still."""
    wait_until(deployment.gate.with_name("gate.reached").exists, "the process to hold still")


def test_the_tasks_of_a_worker_killed_in_mid_batch_come_back_after_their_lease(deployment):
    deployment.serve()
    client = deployment.client()
    job_id = deployment.submit(client)
    holding = deployment.data / "holding"
    doomed = deployment.worker("--batch-size", 10, HOLD_AFTER=3, HOLDING=holding)
    wait_until(holding.exists, "the worker to be in mid-batch")
    doomed.kill()
    assert client.status(job_id) == "STARTED"
    survivor = deployment.worker("--batch-size", 10, "--wait-seconds", 1)
    assert client.final_status(job_id) == "SUCCESS"
    assert_every_task_done_once(client, job_id, IMAGES)
    assert max(client.attempts(job_id)) == 2, "what the dead worker held was handed out again"
    survivor.signal(TERM)
    assert survivor.exit_code() == 0


def test_tasks_that_a_worker_took_and_never_answered_for_go_to_another(deployment):
    deployment.serve()
    client = deployment.client()
    job_id = deployment.submit(client)
    dropped = wait_until(lambda: client.claim(job_id, 15), "tasks")
    assert client.post_results(job_id, [result_for(task) for task in dropped[:5]]) == ["saved"] * 5
    work_through(client, job_id, 8)
    assert_every_task_done_once(client, job_id, IMAGES)
    assert sorted(client.attempts(job_id)) == [1] * 30 + [2] * 10
    assert client.post_results(job_id, [result_for(task) for task in dropped]) == ["duplicate"] * 15


def test_a_server_killed_in_mid_job_and_started_again_loses_nothing_and_does_nothing_twice(deployment):
    server = deployment.serve()
    client, other = deployment.client(), deployment.client()
    job_id = deployment.submit(client)
    worker = threading.Thread(target=work_through, args=(other, job_id, 3))
    worker.start()
    for done in (IMAGES // 4, IMAGES // 2):
        wait_until(lambda done=done: client.stage(job_id, "results")["done"] >= done, "the job to be half done")
        server.kill()
        server = deployment.serve()
    worker.join()
    assert_every_task_done_once(client, job_id, IMAGES)


def test_a_worker_outlives_a_server_that_is_killed_and_comes_back(deployment):
    server = deployment.serve()
    client = deployment.client()
    job_id = deployment.submit(client)
    worker = deployment.worker("--batch-size", 4, "--wait-seconds", 1)
    wait_until(lambda: client.stage(job_id, "results")["done"] >= 8, "the job to be under way")
    server.kill()
    server = deployment.serve()
    assert client.final_status(job_id) == "SUCCESS"
    assert_every_task_done_once(client, job_id, IMAGES)
    worker.signal(TERM)
    assert worker.exit_code() == 0


def number_done(task):
    return {"reply_subject": task["reply_subject"], "result": {"number": task["id"]}}


def test_a_server_killed_in_mid_collect_goes_on_behind_what_it_had_collected(deployment):
    deployment.gate.touch()
    server = deployment.serve()
    client = deployment.client()
    job_id = client.submit(kind="numbers", pipeline=SLUG)
    reached(deployment)
    assert client.stage(job_id, "collect")["done"] == 2000
    assert client.claim(job_id, 8) == [], "a part never looks like the whole"
    server.kill()
    deployment.gate.unlink()
    deployment.serve()
    work_through(client, job_id, 500, result=number_done)
    assert_every_task_done_once(client, job_id, NUMBERS, detections=False)
    assert set(client.attempts(job_id)) == {1}


def test_a_server_killed_in_mid_import_does_only_the_batch_under_way_again(deployment, photos):
    deployment.gate.touch()
    server = deployment.serve()
    client = deployment.client()
    config = {"directory": str(photos), "collection": "again"}
    job_id = client.submit(kind="import_images", config=config)
    reached(deployment)
    server.kill()
    deployment.gate.unlink()
    deployment.serve()
    assert client.final_status(job_id) == "SUCCESS"
    assert_every_task_done_once(client, job_id, IMAGES, detections=False)
    attempts = client.attempts(job_id)
    assert attempts[:20] == [1] * 20, "the batch before was saved"
    assert attempts[HELD_IMAGE] == 2


def test_a_server_stopped_in_mid_import_goes_on_at_its_next_start(deployment, photos):
    deployment.gate.touch()
    server = deployment.serve()
    client = deployment.client()
    job_id = client.submit(kind="import_images", config={"directory": str(photos), "collection": "again"})
    reached(deployment)
    server.signal(TERM)
    deployment.gate.unlink()
    assert server.exit_code() == 0
    deployment.serve()
    assert client.final_status(job_id) == "SUCCESS"
    assert_every_task_done_once(client, job_id, IMAGES, detections=False)
    assert set(client.attempts(job_id)) == {1}, "the batch under way was finished before the server stopped"
