"""What must be so when a job has ended, counted from the rows themselves."""

from headcount.testing.waiting import wait_until
from tests.embedded.system import System

DETECTIONS_PER_IMAGE = 2
STAGES = ("collect", "process", "results")


def assert_exact(system: System, job: int, images: int) -> None:
    """A detection job ended SUCCESS: every image done once, every detection there once, every witness agrees."""
    system.wait_for(job, "SUCCESS")
    assert_ledger_exact(system, job, images)
    assert_detections_exact(system, job, images)
    assert_nothing_left_over(system, job)
    assert_audit_clean(system, job, images)


def assert_ledger_exact(system: System, job: int, tasks: int) -> None:
    """Every ordinal is there once, is saved, and stage and certificate say the same."""
    rows = system.rows("SELECT ordinal, state FROM headcount_task WHERE job_id = ? ORDER BY ordinal", job)
    assert rows == [(ordinal, "saved") for ordinal in range(tasks)]
    stages = system.rows("SELECT stage, total, done, failed FROM headcount_jobstage WHERE job_id = ? ORDER BY 1", job)
    assert stages == [(stage, tasks, tasks, 0) for stage in STAGES]
    certificates = system.rows(
        "SELECT run, status, waiting, leased, received, saved, failed, cancelled FROM headcount_certificate"
        " WHERE job_id = ?",
        job,
    )
    assert certificates == [(1, "SUCCESS", 0, 0, 0, tasks, 0, 0)]


def assert_detections_exact(system: System, job: int, images: int) -> None:
    """Each task has its two detections of its own image, each with its one classification; there is no other."""
    found = system.rows(
        "SELECT t.ordinal, d.position, d.x2, d.y2, count(c.id), min(c.label) FROM headcount_task t"
        " JOIN headcount_images_detection d ON d.task_id = t.id AND d.image_id = CAST(t.key AS INTEGER)"
        " LEFT JOIN headcount_images_classification c ON c.detection_id = d.id"
        " WHERE t.job_id = ? AND d.job_id = t.job_id AND d.y2 = d.image_id"
        " GROUP BY d.id ORDER BY t.ordinal, d.position",
        job,
    )
    expected = [(ordinal, position) for ordinal in range(images) for position in range(DETECTIONS_PER_IMAGE)]
    assert [row[:2] for row in found] == expected
    assert {row[4:] for row in found} == {(1, "moth")}
    of_job = system.number("SELECT count(*) FROM headcount_images_detection WHERE job_id = ?", job)
    assert of_job == images * DETECTIONS_PER_IMAGE


def assert_nothing_left_over(system: System, job: int) -> None:
    """The queue and the state manager have forgotten the job, and its errands are done."""
    tables = ("queuemessage", "runstate", "statemark")
    parts = [f"(SELECT count(*) FROM headcount_database_{table} WHERE job_id = {job})" for table in tables]
    parts.append(f"(SELECT count(*) FROM headcount_outboxentry WHERE job_id = {job} AND delivered_at IS NULL)")
    wait_until(lambda: system.number(f"SELECT {' + '.join(parts)}") == 0, "the engines have forgotten the job")


def assert_no_witness_is_ahead(system: System, job: int, tasks: int) -> None:
    """The state manager knows of nothing that the ledger does not hold, nor the queue of what is not counted."""
    saved = system.states(job).get("saved", 0)
    counted = system.number("SELECT results_done FROM headcount_database_runstate WHERE job_id = ?", job)
    in_queue = system.number("SELECT count(*) FROM headcount_database_queuemessage WHERE job_id = ?", job)
    assert saved >= counted >= tasks - in_queue


def assert_audit_clean(system: System, job: int, tasks: int) -> None:
    """The product's own audit agrees."""
    audit = system.get(f"jobs/{job}/audit")
    assert audit["clean"], audit
    assert f"N = {tasks} = " in audit["line"]
