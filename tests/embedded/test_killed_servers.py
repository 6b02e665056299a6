"""A server that dies and comes back goes on where it was; nothing is lost and nothing is there twice."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from headcount.testing.waiting import wait_until
from tests.embedded.accounts import (
    assert_audit_clean,
    assert_exact,
    assert_ledger_exact,
    assert_no_witness_is_ahead,
    assert_nothing_left_over,
)
from tests.embedded.conftest import Gate
from tests.embedded.system import System, draw_images, result_of

pytestmark = pytest.mark.process

IMPORTED = 300
PORTION = 20
"""Images that an import reads before it saves them."""

COLLECTED_AT_ONCE = 2000
MORE_THAN_THAT = 2100
FEWER = 200

STEPS_OF_AN_ACCOUNT = {
    "saving": "INSERT ON headcount_images_classification",
    "counting": "INSERT ON headcount_database_statemark",
    "acknowledging": "DELETE ON headcount_database_queuemessage",
}
LAST_STEPS = {
    "the verdict": "UPDATE ON headcount_job WHEN NEW.status = 'SUCCESS'",
    "forgetting": "DELETE ON headcount_database_statemark",
}


def test_a_job_goes_on_after_its_server_was_killed_and_the_worker_loses_no_computed_result(
    system: System, gate: Gate, tmp_path: Path
) -> None:
    system.serve()
    job = system.detection_job_of(tmp_path / "photos", 12)
    gate.allow(2)
    worker = system.worker(gate.folder, "worker")
    wait_until(lambda: system.states(job) == {"saved": 2, "leased": 6, "waiting": 4}, "the worker is in mid-batch")
    system.processes.kill("serve")
    gate.allow(8)
    wait_until(lambda: len(gate.computed()) == 8, "the worker has done everything it holds, without a server")
    assert system.states(job)["saved"] == 2
    gate.open()
    system.serve()
    assert_exact(system, job, 12)
    assert len(gate.computed()) == 12, "nothing was done twice"
    assert system.number("SELECT max(attempts) FROM headcount_task WHERE job_id = ?", job) == 1
    assert worker.poll() is None


def test_a_server_that_two_workers_keep_busy_is_killed_and_they_finish_the_job_with_the_next_one(
    system: System, gate: Gate, tmp_path: Path
) -> None:
    system.serve(processes=None, HEADCOUNT_ACK_WAIT="2")
    job = system.detection_job_of(tmp_path / "photos", 30)
    system.hang_at("UPDATE ON headcount_task WHEN NEW.ordinal = 15 AND NEW.state = 'saved'")
    gate.open()
    for name in ("one", "two"):
        system.worker(gate.folder, name)
    system.kill_once_it_hangs()
    assert system.states(job).get("saved", 0) < 30
    system.serve(processes=None, HEADCOUNT_ACK_WAIT="2")
    assert_exact(system, job, 30)


@contextmanager
def patient_poster(system: System, job: int, results: list[Any]) -> Iterator[None]:
    """Post results beside the block until they are answered, as a worker does."""
    stopping = Event()

    def post() -> None:
        while not stopping.is_set():
            try:
                system.post_results(job, results)
            except httpx.TransportError:
                stopping.wait(0.05)
            else:
                return

    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(post)
        try:
            yield
            posting.result()
        finally:
            stopping.set()


@pytest.mark.parametrize("step", STEPS_OF_AN_ACCOUNT.values(), ids=STEPS_OF_AN_ACCOUNT.keys())
def test_a_server_killed_in_any_step_of_an_account_comes_level_when_the_post_is_repeated(
    system: System, tmp_path: Path, step: str
) -> None:
    system.serve()
    job = system.detection_job_of(tmp_path / "photos", 12)
    results = [result_of(task) for task in system.claim(job, 12)]
    system.hang_at(step)
    with patient_poster(system, job, results[:8]):
        system.kill_once_it_hangs()
        assert_no_witness_is_ahead(system, job, 12)
        system.serve()
    system.post_results(job, results[8:])
    assert_exact(system, job, 12)


@pytest.mark.parametrize("step", LAST_STEPS.values(), ids=LAST_STEPS.keys())
def test_a_job_whose_last_result_was_saved_when_its_server_died_is_ended_by_the_next_one(
    system: System, tmp_path: Path, step: str
) -> None:
    system.serve()
    job = system.detection_job_of(tmp_path / "photos", 4)
    results = [result_of(task) for task in system.claim(job, 4)]
    system.hang_at(step)
    with ThreadPoolExecutor(1) as pool:
        post = pool.submit(system.post_results, job, results)
        system.kill_once_it_hangs()
        with pytest.raises(httpx.TransportError):
            post.result()
    assert system.states(job) == {"saved": 4}
    # The first look may come within the two seconds in which the end is left to the request: the next one ends the job.
    system.serve(HEADCOUNT_HEALTH_INTERVAL="1")
    assert_exact(system, job, 4)


def assert_imported(system: System, job: int, images: int) -> None:
    """Every file stands in the collection once, and the job of the import is exact."""
    system.wait_for(job, "SUCCESS")
    assert_ledger_exact(system, job, images)
    assert system.rows("SELECT count(*), count(DISTINCT name) FROM headcount_images_image") == [(images, images)]
    assert_nothing_left_over(system, job)
    assert_audit_clean(system, job, images)


def test_an_import_is_resumed_after_a_kill_in_its_midst(system: System, tmp_path: Path) -> None:
    system.serve(HEADCOUNT_DISPATCH_LEASE="1")
    system.hang_at("INSERT ON headcount_images_image WHEN NEW.name = '00150.png'")
    job = system.start_import(draw_images(tmp_path / "photos", IMPORTED))
    system.kill_once_it_hangs()
    assert system.states(job) == {"saved": 140, "leased": PORTION, "waiting": IMPORTED - 140 - PORTION}
    system.serve(HEADCOUNT_DISPATCH_LEASE="1")
    assert_imported(system, job, IMPORTED)
    again = system.rows("SELECT ordinal FROM headcount_task WHERE job_id = ? AND attempts > 1 ORDER BY 1", job)
    assert again == [(ordinal,) for ordinal in range(140, 160)], "only the portion under way is done again"


@pytest.mark.parametrize(
    ("images", "step", "collected"),
    [
        (MORE_THAN_THAT, f"INSERT ON headcount_task WHEN NEW.ordinal = {COLLECTED_AT_ONCE + 50}", COLLECTED_AT_ONCE),
        (FEWER, "UPDATE OF task_total ON headcount_job", FEWER),
    ],
    ids=["between two portions", "before the total is noted"],
)
def test_collecting_is_resumed_after_a_kill_in_its_midst(
    system: System, tmp_path: Path, images: int, step: str, collected: int
) -> None:
    folder = draw_images(tmp_path / "photos", 1)
    for position in range(1, images):
        (folder / f"{position:05}.png").hardlink_to(folder / "00000.png")
    system.serve(HEADCOUNT_DISPATCH_LEASE="1")
    system.hang_at(step)
    job = system.start_import(folder)
    system.kill_once_it_hangs()
    assert system.states(job) == {"waiting": collected}
    assert system.rows("SELECT task_total FROM headcount_job WHERE id = ?", job) == [(None,)]
    system.serve(HEADCOUNT_DISPATCH_LEASE="1")
    assert_imported(system, job, images)
