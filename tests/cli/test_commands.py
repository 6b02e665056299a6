"""What each command does for whoever types it, and what it prints for scripts."""

import json

import pytest

from headcount.cli.main import COMMANDS
from headcount.flow.cancel import cancel
from headcount.flow.run_job import run_job
from headcount.models import Task, Token
from headcount.store import jobs, ledger, tokens
from headcount_images.models import Detection
from tests.cli.conftest import assert_one_line
from tests.flow import given
from tests.flow.given import claimed, dispatched, failure, posted, submitted, success
from tests.images.conftest import draw

OPTIONS = {
    "demo": ["--help"],
    "serve": ["--host", "--port", "--log-json"],
    "import": ["DIRECTORY", "--collection", "--project", "--watch", "--json"],
    "submit": [
        "--kind",
        "--pipeline",
        "--collection",
        "--config",
        "--dispatch-mode",
        "--failure-threshold",
        "--fail-fast",
        "--priority",
        "--name",
        "--project",
        "--watch",
        "--json",
    ],
    "cancel": ["JOB_ID", "--json"],
    "retry": ["JOB_ID", "--only", "--watch", "--json"],
    "jobs": ["--running", "--limit", "--json"],
    "show": ["JOB_ID", "--watch", "--log", "--json"],
    "diagnose": ["JOB_ID", "--json"],
    "audit": ["JOB_ID", "--json"],
    "health": ["--job", "--minutes", "--dry-run", "--json"],
    "export": ["JOB_ID", "--format", "--output"],
    "worker": ["--server", "--token", "--pipeline", "--batch-size", "--exit-when-idle"],
    "token": ["create"],
    "token create": ["--name", "--project", "--scope", "--json"],
    "migrate": [],
}


@pytest.fixture
def done(deployment, project_id):
    """A job that succeeded: two saved, one failed."""
    job = dispatched(deployment, 3, project_id)
    tasks = claimed(deployment, job)
    posted(deployment, job, [success(tasks[0]), success(tasks[1]), failure(tasks[2])])
    return jobs.get(job.id)


def test_the_overview_names_every_command(headcount_in_process):
    said = headcount_in_process("--help")
    assert said.code == 0
    assert "\\b" not in said.out
    for command, entry in COMMANDS.items():
        assert command in said.out
        assert entry.purpose.split(";")[0] in said.out


@pytest.mark.parametrize("command", OPTIONS)
def test_every_command_explains_itself_and_its_options(headcount_in_process, command):
    said = headcount_in_process(*command.split(), "--help")
    assert (said.code, said.err) == (0, "")
    assert "\\b" not in said.out
    assert len(said.out.splitlines()) > 4
    for option in OPTIONS[command]:
        assert option in said.out


def test_the_version_is_told(headcount_in_process):
    assert headcount_in_process("--version").out.startswith("headcount, version ")


def test_a_token_is_made_for_a_project_and_printed_once(headcount_in_process):
    said = headcount_in_process("token", "create", "--name", "box", "--project", "bees")
    caller = tokens.caller(said.out.strip())
    assert (said.code, caller.token_name, sorted(caller.scopes)) == (0, "box", ["work"])
    assert caller.project_id == jobs.ensure_project("bees")
    assert said.out.strip() not in str(Token.objects.values())


def test_a_token_as_json_has_its_project_and_scopes(headcount_in_process):
    made = headcount_in_process("token", "create", "--scope", "submit", "--scope", "read", "--json").json
    assert sorted(made["scopes"]) == ["read", "submit"]
    assert tokens.caller(made["token"]).project_id == made["project_id"]


def test_a_folder_is_submitted_for_import(headcount_in_process, project_id, tmp_path):
    draw(tmp_path / "night" / "a.jpg")
    shown = headcount_in_process("import", tmp_path / "night", "--json").json
    assert (shown["kind"], shown["status"], shown["name"]) == ("import_images", "PENDING", "import night")
    assert f"job {shown['id'] + 1}: PENDING" in headcount_in_process("import", tmp_path / "night").out


def test_a_job_is_submitted_as_the_help_says(headcount_in_process, project_id):
    given.collection(project_id, 2)
    said = headcount_in_process("submit", "--pipeline", given.SLUG, "--collection", "night", "--json")
    assert (said.json["status"], said.json["dispatch_mode"]) == ("PENDING", "async_api")
    line = headcount_in_process("submit", "--pipeline", given.SLUG, "--collection", "night").out
    assert line.startswith(f"job {said.json['id'] + 1}: PENDING (ml, async_api)")


def test_further_configuration_is_given_as_json(headcount_in_process, done):
    config = json.dumps({"job_id": done.id, "format": "jsonl"})
    shown = headcount_in_process("submit", "--kind", "export_results", "--config", config, "--json").json
    assert (shown["kind"], shown["dispatch_mode"]) == ("export_results", "internal")


def test_jobs_are_listed_newest_first(headcount_in_process, deployment, done):
    running = submitted(deployment, 1, done.project_id)
    listed = headcount_in_process("jobs", "--json").json
    assert [job["id"] for job in listed] == [running.id, done.id]
    assert [job["id"] for job in headcount_in_process("jobs", "--running", "--json").json] == [running.id]
    assert [job["id"] for job in headcount_in_process("jobs", "--limit", "1", "--json").json] == [running.id]
    table = headcount_in_process("jobs").out
    assert "SUCCESS" in table
    assert "PENDING" in table


def test_where_there_are_no_jobs_the_list_says_how_to_make_one(headcount_in_process):
    assert "headcount submit" in headcount_in_process("jobs").out
    assert headcount_in_process("jobs", "--json").json == []


def test_a_job_is_shown_with_its_verdict(headcount_in_process, done):
    said = headcount_in_process("show", done.id)
    assert "1 failed / 3 = 0.3333 <= 0.5" in said.out
    assert "detections: 4" in said.out
    shown = headcount_in_process("show", done.id, "--json").json
    assert (shown["status"], shown["counts"]) == ("SUCCESS", {"detections": 4})


def test_a_jobs_log_is_shown_for_people_and_for_scripts(headcount_in_process, done):
    assert "job.finished" in headcount_in_process("show", done.id, "--log").out
    shown = headcount_in_process("show", done.id, "--log", "--json").json
    assert [line["name"] for line in shown["log"]][:2] == ["job.submitted", "job.pending"]


def test_watching_a_job_that_has_ended_tells_by_its_code_how(headcount_in_process, deployment, done):
    assert headcount_in_process("show", done.id, "--watch").code == 0
    said = headcount_in_process("show", done.id, "--watch", "--json")
    assert (said.code, said.json["status"]) == (0, "SUCCESS")
    revoked = submitted(deployment, 1, done.project_id)
    cancel(deployment, revoked.id)
    assert headcount_in_process("show", revoked.id, "--watch").code == 1


def test_a_job_is_cancelled(headcount_in_process, deployment, project_id):
    job = dispatched(deployment, 2, project_id)
    assert headcount_in_process("cancel", job.id, "--json").json["status"] == "REVOKED"


@pytest.mark.parametrize(("options", "waiting"), [([], 1), (["--only", "failed"], 1), (["--only", "unfinished"], 2)])
def test_a_job_that_has_ended_is_retried(headcount_in_process, deployment, project_id, options, waiting):
    job = dispatched(deployment, 3, project_id)
    tasks = claimed(deployment, job)
    posted(deployment, job, [success(tasks[0]), failure(tasks[1])])
    cancel(deployment, job.id)
    shown = headcount_in_process("retry", job.id, *options, "--json").json
    assert (shown["status"], shown["run"]) == ("PENDING", 2)
    assert [item["status"] for item in shown["certificates"]] == ["REVOKED"]
    assert ledger.counts(job.id).waiting == waiting


def test_a_job_with_nothing_to_retry_is_refused_in_one_line(headcount_in_process, deployment, project_id):
    job = dispatched(deployment, 0, project_id)
    assert_one_line(headcount_in_process("retry", job.id), "nothing to retry", "submit a new job")
    assert_one_line(headcount_in_process("retry", 999_999), "there is no job 999999")
    assert_one_line(headcount_in_process("retry", job.id, "--only", "saved"), "--only")


def test_a_job_that_fails_fast_is_submitted_and_shows_how_far_it_is_from_failure(
    headcount_in_process, deployment, project_id
):
    given.collection(project_id, 4)
    submit = ("submit", "--pipeline", given.SLUG, "--collection", "night", "--failure-threshold", "0.25", "--fail-fast")
    shown = headcount_in_process(*submit, "--json").json
    assert (shown["fail_fast"], shown["bound"]) == (True, None)
    job = jobs.get(shown["id"])
    run_job(deployment, job.ref)
    assert "can still succeed: at most 1 more failure" in headcount_in_process("show", job.id).out
    bound = headcount_in_process("show", job.id, "--json").json["bound"]
    assert bound == {"can_succeed": True, "failures_left": 1, "says": "can still succeed: at most 1 more failure"}


def test_a_clean_audit_prints_the_sum(headcount_in_process, done):
    said = headcount_in_process("audit", done.id)
    assert said.code == 0
    assert "N = 3 = 0 waiting + 0 leased + 0 received + 2 saved + 1 failed + 0 cancelled: clean" in said.out
    assert headcount_in_process("audit", done.id, "--json").json["clean"] is True


def test_an_audit_names_the_offenders_and_exits_1(headcount_in_process, done):
    stray = Detection.objects.first()
    Task.objects.filter(pk=stray.task_id).update(state="failed", error="tampered with")
    said = headcount_in_process("audit", done.id)
    assert said.code == 1
    assert f"detection {stray.pk} of task {stray.task_id}" in said.out
    said = headcount_in_process("audit", done.id, "--json")
    assert (said.code, said.json["clean"]) == (1, False)


def test_results_are_exported_to_the_terminal_or_a_file(headcount_in_process, done, tmp_path):
    said = headcount_in_process("export", done.id)
    assert len(said.out.splitlines()) == 5
    headcount_in_process("export", done.id, "--output", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == said.out
    lines = headcount_in_process("export", done.id, "--format", "jsonl").out.splitlines()
    assert {json.loads(line)["classifications"][0]["label"] for line in lines} == {"moth"}
    assert len(json.loads(headcount_in_process("export", done.id, "--format", "coco").out)["annotations"]) == 4


def test_migrating_what_is_up_to_date_says_so(headcount_in_process):
    assert headcount_in_process("migrate").out == "the tables are up to date\n"
