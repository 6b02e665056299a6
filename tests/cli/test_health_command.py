"""``headcount health``: the health check by hand."""

import pytest

from headcount.engines.database.models import QueueMessage
from headcount.flow.cancel import cancel
from headcount.health.finding import Remedy
from headcount.models import Job
from headcount.store import jobs
from tests.cli.conftest import assert_one_line
from tests.flow.given import dispatched
from tests.health.damage import DAMAGE, repair_events


@pytest.fixture
def lost(deployment, project_id):
    """A job whose queue lost its tasks."""
    job = dispatched(deployment, 3, project_id)
    QueueMessage.objects.all().delete()
    return job


def test_the_whole_check_says_what_each_part_did(headcount_in_process, lost):
    said = headcount_in_process("health")
    assert said.code == 0
    assert "looked at 1 running jobs in " in said.out
    assert "  lost_tasks             1 checked, 1 fixed, 0 unfixable\n" in said.out
    assert repair_events(lost) == ["repair.republish"]


def test_the_whole_check_as_json(headcount_in_process, lost):
    said = headcount_in_process("health", "--json")
    assert said.code == 0
    report = said.json
    assert report["jobs"] == 1
    assert report["checks"]["lost_tasks"] == {"checked": 1, "fixed": 1, "unfixable": 0}


def test_what_cannot_be_put_right_is_code_1(headcount_in_process, lost):
    Job.objects.filter(pk=lost.id).update(status="EXPLODED")
    said = headcount_in_process("health")
    assert said.code == 1
    assert "unreadable             1 checked, 0 fixed, 1 unfixable" in said.out


def test_a_dry_run_says_what_would_be_done_and_does_nothing(headcount_in_process, lost):
    said = headcount_in_process("health", "--dry-run")
    assert said.code == 0
    assert f"job {lost.id}\n" in said.out
    assert "  lost_tasks: 3 tasks are open, 0 of them held, but the queue holds 0 messages" in said.out
    assert "[republish: not done in a dry run]" in said.out
    assert repair_events(lost) == []
    assert not QueueMessage.objects.exists()


def test_one_job_alone_is_looked_at_and_repaired(headcount_in_process, deployment, project_id, lost):
    other = dispatched(deployment, 3, project_id)
    QueueMessage.objects.all().delete()
    said = headcount_in_process("health", "--job", lost.id)
    assert said.code == 0
    assert "[republish: done]" in said.out
    assert said.out.endswith("looked at 1 jobs\n")
    assert (repair_events(lost), repair_events(other)) == (["repair.republish"], [])


def test_one_job_as_json_has_findings_with_their_evidence(headcount_in_process, lost):
    said = headcount_in_process("health", "--job", lost.id, "--dry-run", "--json")
    (found,) = said.json
    assert found["job_id"] == lost.id
    finding = next(item for item in found["findings"] if item["remedy"] == "republish")
    assert (finding["condition"], finding["changed"], finding["error"]) == ("lost_tasks", False, "")
    assert finding["evidence"]["ledger"]["waiting"] == 3
    assert finding["next_step"]


def test_a_job_that_has_ended_is_shown_as_such_and_cleaned_up(headcount_in_process, deployment, project_id):
    damaged = DAMAGE[Remedy.CLEAN_UP](deployment)
    said = headcount_in_process("health", "--job", damaged.job.id)
    assert said.code == 0
    assert "  ended: The job ended" in said.out
    assert "[clean_up: done]" in said.out
    damaged.repaired()


def test_minutes_choose_the_jobs_that_have_stood_still(headcount_in_process, lost):
    assert headcount_in_process("health", "--minutes", 10).out == "0 jobs make no progress\n"
    assert repair_events(lost) == []
    said = headcount_in_process("health", "--minutes", 0, "--dry-run")
    assert f"job {lost.id}, without progress for 0:00:00\n" in said.out
    assert repair_events(lost) == []
    as_json = headcount_in_process("health", "--minutes", 0, "--json")
    (stale,) = as_json.json
    assert (stale["job_id"], stale["without_progress_seconds"]) == (lost.id, 0)
    assert repair_events(lost) == ["repair.republish"]


def test_nothing_to_do_is_said_too(headcount_in_process, deployment, project_id):
    job = dispatched(deployment, 1, project_id)
    cancel(deployment, job.id)
    assert headcount_in_process("health", "--dry-run").out == "looked at 0 jobs\n"
    assert jobs.get(job.id).status == "REVOKED"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--job", "999"], "there is no job 999"),
        (["--job", "x"], "'x' is not a valid integer"),
        (["--minutes", "-1"], "a number from 0"),
        (["--minutes", "nan"], "not nan"),
        (["--minutes", "1e300"], "a number from 0"),
        (["--job", "1", "--minutes", "1"], "do not go together"),
        (["--job", "99999999999999999999999"], "there is no job"),
    ],
)
def test_bad_input_in_one_line(headcount_in_process, arguments, words):
    assert_one_line(headcount_in_process("health", *arguments), words)
