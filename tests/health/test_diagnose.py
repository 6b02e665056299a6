"""A diagnosis says what the health loop does, who says so, and how it is read by people and scripts."""

import json
from pathlib import Path

import pytest

from headcount.domain.states import Scope
from headcount.engines.database.models import QueueMessage, RunState, StateMark
from headcount.errors import EngineUnavailableError
from headcount.health.decide import decide
from headcount.health.diagnose import as_document, diagnose
from headcount.health.finding import Condition, Remedy
from headcount.health.observe import observe
from headcount.health.policy import policy_of
from headcount.health.testimony import statements
from headcount.models import Job
from headcount.store import tokens
from tests.api.callers import Caller, assert_problem
from tests.cli.conftest import assert_one_line, headcount_in_process  # noqa: F401 - a fixture
from tests.flow.given import claimed, dispatched, posted, project, success
from tests.health.given import ABSENT, NOW, SILENT, observed

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(deployment):
    """A job of four tasks, one of them saved, one in the hands of a worker."""
    made = dispatched(deployment, 4)
    first, _ = claimed(deployment, made, 2)
    posted(deployment, made, [success(first)])
    return made


def test_a_diagnosis_is_what_the_loop_decides(deployment, job):
    QueueMessage.objects.filter(job_id=job.id).delete()
    diagnosis = diagnose(deployment, job.id)
    decided = decide(observe(deployment, job.id), policy_of(deployment.settings), deployment.clock())
    assert diagnosis.findings == decided
    assert diagnosis.headline.condition is Condition.LOST_TASKS
    assert diagnosis.headline.remedy is Remedy.REPUBLISH
    assert diagnosis.besides == ()


@pytest.mark.parametrize("witness", ["state.snapshots", "queue.depths", "dispatcher.testimonies"])
@pytest.mark.parametrize("first", ["result", "witness"])
def test_a_result_that_comes_while_witnesses_are_heard_is_no_fault(deployment, job, monkeypatch, witness, first):
    engine = getattr(deployment, witness.partition(".")[0])
    name = witness.partition(".")[2]
    ask = getattr(engine, name)
    (held,) = claimed(deployment, job, 1)

    def meanwhile(*arguments):
        before = ask(*arguments)
        assert posted(deployment, job, [success(held)]) == ["saved"]
        return before if first == "witness" else ask(*arguments)

    monkeypatch.setattr(type(engine), name, staticmethod(meanwhile))
    assert {finding.remedy for finding in diagnose(deployment, job.id).findings} == {Remedy.NONE}


def test_every_witness_is_heard_or_says_why_not(deployment, job, monkeypatch):
    def refuses(*_):
        raise EngineUnavailableError("connection refused")

    monkeypatch.setattr(type(deployment.queue), "depths", refuses)
    said = {item.witness: item for item in diagnose(deployment, job.id).witnesses}
    assert list(said) == [
        *("job row", "ledger", "state manager", "queue", "dispatcher", "workers", "progress rows", "patience")
    ]
    assert said["ledger"].says.startswith("4 = 2 waiting + 1 leased + 0 received + 1 saved")
    assert said["state manager"].says == "process 1 + 0 failed of 4, results 1 + 0 failed of 4"
    assert said["queue"].is_silent
    assert "connection refused" in said["queue"].says
    assert "1 worker of the pipeline seen lately" in said["workers"].says


def test_a_lost_state_is_named_with_what_is_used_instead(deployment, job):
    RunState.objects.all().delete()
    StateMark.objects.all().delete()
    found = diagnose(deployment, job.id).headline
    assert (found.condition, found.remedy) == (Condition.STATE_LOST, Remedy.REBUILD_STATE)
    assert found.fallback.startswith(f"job {job.id}: the state manager cannot testify (")
    assert found.command == f"headcount health --job {job.id}"
    assert found.due == deployment.clock() + deployment.settings.health_interval


def test_nothing_is_changed_by_looking(deployment, job):
    before = list(Job.objects.values())
    assert as_document(diagnose(deployment, job.id)) == as_document(diagnose(deployment, job.id))
    assert list(Job.objects.values()) == before


def test_a_witness_that_knows_nothing_is_told_from_one_that_is_silent():
    said = {item.witness: item for item in statements(observed(queue=None, dispatcher=SILENT, leftovers={"nats": "1"}))}
    assert (said["queue"].says, said["queue"].is_silent) == ("knows nothing of this run", False)
    assert (said["dispatcher"].says, said["dispatcher"].is_silent) == (SILENT.reason, True)
    assert said["nats"].says == "still holds 1"
    assert said["patience"].says == "0 s without progress, 0 s without workers"


def test_an_ended_job_has_no_patience_and_its_forgotten_state_is_no_alarm():
    ended = {"status": "SUCCESS", "finished_at": NOW, "dispatch_mode": "internal"}
    said = {item.witness: item for item in statements(observed(job=ended, state=ABSENT))}
    assert list(said) == ["job row", "ledger", "state manager", "queue", "dispatcher", "progress rows"]
    assert (said["state manager"].says, said["state manager"].is_silent) == ("knows nothing of this run", False)
    running = {item.witness: item for item in statements(observed(state=ABSENT))}
    assert running["state manager"].is_silent


def test_the_api_diagnoses_a_job_of_the_callers_project(deployment, job, monkeypatch):
    monkeypatch.setattr("headcount.api.jobs.deployment", lambda: deployment)
    caller = Caller(tokens.create(job.project_id, "test", [Scope.READ]))
    document = caller.get(f"jobs/{job.id}/diagnosis").json()
    assert document["headline"]["condition"] == "healthy"
    assert document["headline"]["evidence"]["ledger"]["saved"] == 1
    assert [finding["condition"] for finding in document["findings"]] == ["healthy"]
    assert {item["witness"] for item in document["witnesses"]} >= {"ledger", "queue", "dispatcher"}
    assert_problem(caller.get("jobs/999999/diagnosis"), 404, "no job 999999")
    stranger = Caller(tokens.create(project("bees"), "test", [Scope.READ]))
    assert_problem(stranger.get(f"jobs/{job.id}/diagnosis"), 404, str(job.id))
    worker = Caller(tokens.create(job.project_id, "test", [Scope.WORK]))
    assert_problem(worker.get(f"jobs/{job.id}/diagnosis"), 403)


def test_the_command_says_why_a_job_stands_where_it_stands(headcount_in_process, deployment, job):  # noqa: F811
    QueueMessage.objects.filter(job_id=job.id).delete()
    said = headcount_in_process("diagnose", job.id)
    assert said.code == 0
    for words in ("lost tasks: 3 tasks are open", "put in the queue again", f"headcount health --job {job.id}"):
        assert words in said.out
    document = headcount_in_process("diagnose", job.id, "--json").json
    assert document == json.loads(json.dumps(as_document(diagnose(deployment, job.id)), default=str)) | {
        "at": document["at"],
        "headline": document["headline"],
        "findings": document["findings"],
    }
    assert document["headline"]["condition"] == "lost_tasks"


def test_a_job_named_in_markup_and_a_status_nobody_knows_are_shown_as_they_are(
    headcount_in_process,  # noqa: F811
    deployment,
    job,
):
    Job.objects.filter(pk=job.id).update(name="[bold]night[/]", status="[red]ODD[/]")
    said = headcount_in_process("diagnose", job.id)
    assert said.code == 0
    assert "'[bold]night[/]'" in said.out
    assert "status unknown: The status '[red]ODD[/]' is a word that nobody here knows" in said.out


def test_the_page_about_diagnoses_names_every_condition():
    page = Path(__file__).parents[2] / "docs" / "how-to" / "diagnose-a-job.md"
    rows = {line.split("|")[1].strip() for line in page.read_text(encoding="utf-8").splitlines() if "|" in line}
    assert {f"`{condition}`" for condition in Condition} <= rows


def test_a_job_that_is_not_there_is_one_line(headcount_in_process):  # noqa: F811
    assert_one_line(headcount_in_process("diagnose", 999999), "there is no job 999999")
