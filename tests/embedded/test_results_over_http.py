"""Results that come twice, late, with the wrong token or broken: counts exact, and each answer says why."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from headcount.testing.waiting import wait_until
from tests.embedded.accounts import assert_audit_clean, assert_detections_exact, assert_exact
from tests.embedded.system import System, as_bytes, result_of

pytestmark = pytest.mark.process

ROWS_OF_A_JOB = (
    (
        "SELECT ordinal, key, payload, state, attempts, releases, worker, error, accounted_at IS NULL,"
        " leased_until IS NULL FROM headcount_task WHERE job_id = :job ORDER BY ordinal"
    ),
    (
        "SELECT t.ordinal, d.image_id, d.position, x1, y1, x2, y2, d.algorithm, detected_at, c.position, label, scores,"
        " c.algorithm, terminal, classified_at FROM headcount_images_detection d"
        " JOIN headcount_task t ON t.id = d.task_id LEFT JOIN headcount_images_classification c"
        " ON c.detection_id = d.id WHERE d.job_id = :job ORDER BY t.ordinal, d.position, c.position"
    ),
    "SELECT stage, total, done, failed, counts FROM headcount_jobstage WHERE job_id = :job ORDER BY stage",
    "SELECT status, run, task_total FROM headcount_job WHERE id = :job",
    "SELECT run, status, arithmetic, reason, saved, failed, evidence FROM headcount_certificate WHERE job_id = :job",
    "SELECT level, name, message, evidence FROM headcount_jobevent WHERE job_id = :job ORDER BY id",
    "SELECT topic, run FROM headcount_outboxentry WHERE job_id = :job ORDER BY topic",
    "SELECT run, ordinal, ready, deliveries FROM headcount_database_queuemessage WHERE job_id = :job ORDER BY ordinal",
    (
        "SELECT run, total, process_done, process_failed, results_done, results_failed FROM headcount_database_runstate"
        " WHERE job_id = :job"
    ),
    "SELECT run, stage, ordinal, failed FROM headcount_database_statemark WHERE job_id = :job ORDER BY stage, ordinal",
)


def everything_about(system: System, job: int) -> bytes:
    """Every row of a job in every table, without what differs between any two jobs: row ids and times."""
    return as_bytes([system.rows(sql.replace(":job", str(job))) for sql in ROWS_OF_A_JOB])


def post_at_once(system: System, job: int, results: list[Any], times: int) -> list[list[dict[str, Any]]]:
    """Post the same batch from as many threads, all in the same moment."""
    barrier = Barrier(times)

    def post(_: int) -> list[dict[str, Any]]:
        barrier.wait()
        return system.post_results(job, results)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(post, range(times)))


def statuses(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["status"] for answer in answers]


@pytest.fixture
def job(system: System, tmp_path: Path) -> int:
    """A job of twelve tasks on a server whose leases last for a second."""
    system.serve(HEADCOUNT_ACK_WAIT="1")
    return system.detection_job_of(tmp_path / "photos", 12)


def test_a_batch_posted_five_times_at_once_leaves_the_rows_that_one_post_leaves(system: System, tmp_path: Path) -> None:
    system.serve()
    once = system.detection_job_of(tmp_path / "photos", 12)
    five_times = system.detection_job("photos")
    for size in (8, 4):
        assert statuses(system.post_results(once, list(map(result_of, system.claim(once, size))))) == ["saved"] * size
        batch = list(map(result_of, system.claim(five_times, size)))
        for answers in zip(*post_at_once(system, five_times, batch, 5), strict=True):
            assert sorted(statuses(list(answers))) == ["duplicate"] * 4 + ["saved"]
        assert everything_about(system, five_times) == everything_about(system, once)
    assert_exact(system, once, 12)
    assert_exact(system, five_times, 12)


def test_of_two_workers_results_for_one_task_the_first_counts_and_the_second_is_told_so(
    system: System, job: int
) -> None:
    slow = system.claim(job, 12, "slow")
    fast = wait_until(lambda: system.claim(job, 12, "fast"), "the leases of the slow worker have ended")
    assert [task["id"] for task in fast] == [task["id"] for task in slow]
    assert statuses(system.post_results(job, list(map(result_of, slow[:6])))) == ["saved"] * 6
    answers = system.post_results(job, list(map(result_of, fast)))
    assert statuses(answers) == ["duplicate"] * 6 + ["saved"] * 6
    assert {answer["reason"] for answer in answers[:6]} == {"the task is already saved"}
    assert_exact(system, job, 12)


def test_a_failure_from_a_lease_that_was_lost_counts_for_nothing(system: System, job: int) -> None:
    slow = system.claim(job, 12, "slow")
    fast = wait_until(lambda: system.claim(job, 12, "fast"), "the leases of the slow worker have ended")
    failures = [{"reply_subject": task["reply_subject"], "result": {"error": "too slow"}} for task in slow]
    answers = system.post_results(job, failures)
    assert statuses(answers) == ["stale"] * 12
    assert {answer["reason"] for answer in answers} == {"the lease is of attempt 1, the task is in attempt 2"}
    system.post_results(job, list(map(result_of, fast)))
    assert_exact(system, job, 12)


def test_results_after_the_final_status_change_nothing_and_are_told_why(system: System, job: int) -> None:
    batch = list(map(result_of, system.claim(job, 12)))
    system.post_results(job, batch)
    assert_exact(system, job, 12)
    before = everything_about(system, job)
    answers = system.post_results(job, batch)
    assert statuses(answers) == ["duplicate"] * 12
    assert {answer["reason"] for answer in answers} == {"the task is already saved"}
    assert everything_about(system, job) == before
    assert_exact(system, job, 12)


def test_results_after_a_cancellation_change_nothing_and_are_told_why(system: System, job: int) -> None:
    tasks = system.claim(job, 12)
    system.post_results(job, list(map(result_of, tasks[:5])))
    system.post(f"jobs/{job}/cancel", {})
    before = everything_about(system, job)
    answers = system.post_results(job, list(map(result_of, tasks)))
    assert statuses(answers) == ["duplicate"] * 5 + ["stale"] * 7
    assert {answer["reason"] for answer in answers[5:]} == {"the task was cancelled"}
    assert everything_about(system, job) == before
    assert system.states(job) == {"saved": 5, "cancelled": 7}
    assert_detections_exact(system, job, 5)
    assert_audit_clean(system, job, 12)


def altered(token: str) -> str:
    """The token with one character changed."""
    return token[:20] + ("A" if token[20] != "A" else "B") + token[21:]


def test_a_token_of_another_job_an_invented_and_an_altered_one_are_refused_and_the_rest_is_saved(
    system: System, job: int
) -> None:
    other = system.detection_job("photos")
    tasks, foreign = system.claim(job, 12), system.claim(other, 1)[0]
    wrong = [
        (foreign["reply_subject"], f"the lease token is of job {other}, it was posted to job {job}"),
        ("invented", "the lease token was not issued by this deployment or was altered; claim the task again"),
        (altered(tasks[11]["reply_subject"]), "the lease token was not issued by this deployment or was altered"),
        (tasks[11]["reply_subject"] + "=", "the lease token was not issued by this deployment or was altered"),
    ]
    batch = list(map(result_of, tasks[:6]))
    batch += [{**result_of(tasks[11]), "reply_subject": token} for token, _ in wrong]
    batch += list(map(result_of, tasks[6:11]))
    answers = system.post_results(job, batch)
    assert statuses(answers) == ["saved"] * 6 + ["rejected"] * 4 + ["saved"] * 5
    for (_, reason), answer in zip(wrong, answers[6:10], strict=True):
        assert answer["reason"].startswith(reason)
    assert system.states(job) == {"saved": 11, "leased": 1}
    assert system.states(other) == {"leased": 1, "waiting": 11}
    system.post_results(job, [result_of(tasks[11])])
    assert_exact(system, job, 12)


def test_a_poison_result_fails_alone_and_the_others_are_saved(system: System, job: int) -> None:
    tasks = system.claim(job, 12)
    system.change("DELETE FROM headcount_images_image WHERE id = ?", int(tasks[7]["image_id"]))
    answers = system.post_results(job, list(map(result_of, tasks)))
    assert statuses(answers) == ["saved"] * 7 + ["rejected"] + ["saved"] * 4
    assert "the result could not be saved" in answers[7]["reason"]
    assert answers[7]["reason"].endswith("recorded as this task's failure")
    system.wait_for(job, "SUCCESS")
    assert system.states(job) == {"saved": 11, "failed": 1}
    of_job = system.rows("SELECT task_id FROM headcount_images_detection WHERE job_id = ?", job)
    assert len(of_job) == 22
    assert_audit_clean(system, job, 12)
