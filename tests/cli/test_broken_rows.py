"""What ``headcount audit`` says when somebody has been at the rows: the offence by name, and exit code 1."""

import pytest
from django.db import IntegrityError, connection

from headcount.flow.retry import retry
from headcount.flow.run_job import run_job
from headcount.store import jobs
from headcount_images.models import Detection
from tests.flow import given
from tests.flow.given import claimed, dispatched, failure, posted, success


@pytest.fixture
def job(deployment, project_id):
    """A job of four: the first saved, the others failed, the threshold high enough."""
    made = dispatched(deployment, 4, project_id, failure_threshold=0.75)
    tasks = claimed(deployment, made)
    posted(deployment, made, [success(tasks[0]), *[failure(task) for task in tasks[1:]]])
    assert jobs.get(made.id).status == "SUCCESS"
    return made


def run(statement, job):
    """Run SQL behind the back of everybody, on the one job."""
    with connection.cursor() as cursor:
        cursor.execute(statement, {"job": job.id})
        assert cursor.rowcount == 1


_OPENED_AGAIN = """
    UPDATE headcount_task SET state = 'waiting', error = NULL, accounted_at = NULL
    WHERE job_id = %(job)s AND ordinal = 1
"""
DAMAGE = {
    "a ledger row deleted in the middle": (
        "DELETE FROM headcount_task WHERE job_id = %(job)s AND ordinal = 2",
        ["the job has 4 tasks but the ledger holds 3", "ordinals run to 3 but there are 3 rows"],
    ),
    "the last ledger row deleted": (
        "DELETE FROM headcount_task WHERE job_id = %(job)s AND ordinal = 3",
        ["the job has 4 tasks but the ledger holds 3"],
    ),
    "the certificate deleted": (
        "DELETE FROM headcount_certificate WHERE job_id = %(job)s",
        ["the job is SUCCESS but has no certificate for run 1"],
    ),
    "the status altered": (
        "UPDATE headcount_job SET status = 'FAILURE' WHERE id = %(job)s",
        ["the job is FAILURE but its certificate says SUCCESS", "the job is FAILURE but its rows say SUCCESS"],
    ),
    "the threshold lowered after the verdict": (
        "UPDATE headcount_job SET failure_threshold = 0.5 WHERE id = %(job)s",
        ["the job is SUCCESS but its rows say FAILURE"],
    ),
    "the total raised": (
        "UPDATE headcount_job SET task_total = 5 WHERE id = %(job)s",
        ["the job has 5 tasks but the ledger holds 4"],
    ),
    "a task opened again": (
        _OPENED_AGAIN,
        ["the job is SUCCESS but 1 tasks are open"],
    ),
    "a job that was never collected": (
        "UPDATE headcount_job SET task_total = NULL, published_at = NULL WHERE id = %(job)s",
        ["the job is SUCCESS but was never collected whole"],
    ),
}


@pytest.mark.parametrize(("statement", "offences"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named_and_the_code_is_1(headcount_in_process, job, statement, offences):
    assert headcount_in_process("audit", job.id).code == 0
    run(statement, job)
    said = headcount_in_process("audit", job.id)
    assert (said.code, said.err) == (1, "")
    assert said.out.splitlines()[0].endswith(f": {len(offences)} offences")
    for offence in offences:
        assert f"  {offence}" in said.out
    as_json = headcount_in_process("audit", job.id, "--json")
    assert (as_json.code, as_json.json["clean"], len(as_json.json["offences"])) == (1, False, len(offences))


def test_a_certificate_cannot_even_be_altered(headcount_in_process, job):
    with pytest.raises(IntegrityError, match="append-only"):
        run("UPDATE headcount_certificate SET status = 'FAILURE' WHERE job_id = %(job)s", job)
    assert headcount_in_process("audit", job.id).code == 0


def test_a_saved_result_of_a_task_that_failed_is_named(headcount_in_process, job):
    run("UPDATE headcount_task SET state = 'failed', error = 'x' WHERE job_id = %(job)s AND ordinal = 0", job)
    said = headcount_in_process("audit", job.id)
    assert said.code == 1
    assert "saved without standing in the ledger as saved: detection" in said.out


def test_a_sum_of_detections_that_the_rows_contradict_is_named(headcount_in_process, job):
    run("UPDATE headcount_images_savedbatch SET detections = detections + 1 WHERE job_id = %(job)s", job)
    said = headcount_in_process("audit", job.id)
    assert said.code == 1
    found = Detection.objects.filter(job_id=job.id).count()
    assert f"the job is said to have {found + 1} detections but there are {found}" in said.out


def test_a_job_that_runs_is_clean_while_it_runs(headcount_in_process, deployment, project_id):
    job = dispatched(deployment, 3, project_id)
    posted(deployment, job, [success(claimed(deployment, job, 1)[0])])
    said = headcount_in_process("audit", job.id)
    assert said.code == 0
    assert "N = 3 = 2 waiting + 0 leased + 0 received + 1 saved + 0 failed + 0 cancelled: clean" in said.out


def test_the_damage_of_one_job_is_not_held_against_another(headcount_in_process, deployment, job):
    other = given.dispatched(deployment, 0, job.project_id)
    run("DELETE FROM headcount_certificate WHERE job_id = %(job)s", job)
    assert headcount_in_process("audit", other.id).code == 0


_MISJUDGED = """
    INSERT INTO headcount_certificate (job_id, run, status, arithmetic, reason, threshold, evidence, decided_at,
                                       waiting, leased, received, saved, failed, cancelled)
    SELECT job_id, 3, 'SUCCESS', '', '', 0.1, '{}', decided_at, 0, 0, 0, 1, 3, 0
    FROM headcount_certificate WHERE job_id = %(job)s AND run = 2
"""
RUNS_DAMAGE = {
    "the certificate of an earlier run deleted": (
        "DELETE FROM headcount_certificate WHERE job_id = %(job)s AND run = 1",
        "the job is in run 2 but has no certificate for run 1",
    ),
    "a certificate of a run that has not ended": (
        "UPDATE headcount_job SET run = 1 WHERE id = %(job)s",
        "run 2 has a certificate but the job is in run 1",
    ),
    "a certificate whose figures say otherwise": (
        _MISJUDGED,
        "the certificate of run 3 says SUCCESS but its figures say FAILURE",
    ),
}


@pytest.mark.parametrize(("statement", "offence"), RUNS_DAMAGE.values(), ids=RUNS_DAMAGE.keys())
def test_damage_to_the_certificates_of_several_runs_is_named(headcount_in_process, deployment, job, statement, offence):
    following = retry(deployment, job.id)
    run_job(deployment, following.ref)
    posted(deployment, following, [success(task) for task in claimed(deployment, following)])
    assert headcount_in_process("audit", job.id).code == 0
    run(statement, job)
    said = headcount_in_process("audit", job.id)
    assert said.code == 1
    assert f"  {offence}" in said.out
