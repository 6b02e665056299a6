"""The shapes that pull workers in the field rely on, word for word."""

import pytest

from headcount.domain.states import Scope
from headcount.models import Pipeline, ProcessingService, Worker
from headcount_images.models import Detection
from tests.flow import given

pytestmark = pytest.mark.django_db

slashes = pytest.mark.parametrize("slash", ["", "/"], ids=["no slash", "slash"])
FIELD_QUERY = "pipeline__slug__in=blobs,others&ids_only=1&incomplete_only=1&dispatch_mode=async_api"


@slashes
def test_a_worker_finds_jobs_by_its_pipelines(caller, job, slash):
    answer = caller.request("GET", f"jobs{slash}?{FIELD_QUERY}").json()
    assert answer == {"results": [{"id": job.id, "pipeline_slug": "blobs"}]}


def test_jobs_that_ended_or_need_other_pipelines_are_not_found(caller, deployment, project_id):
    given.dispatched(deployment, 0, project_id)
    assert caller.request("GET", f"jobs?{FIELD_QUERY}").json() == {"results": []}
    given.dispatched(deployment, 1, project_id)
    assert caller.get("jobs", pipeline__slug__in="others", ids_only=1).json() == {"results": []}


def test_incomplete_jobs_come_oldest_first_and_all_jobs_newest_first(caller, deployment, project_id):
    ids = [given.dispatched(deployment, 1, project_id).id for _ in range(3)]
    assert [item["id"] for item in caller.get("jobs", incomplete_only=1).json()["results"]] == ids
    assert [item["id"] for item in caller.get("jobs").json()["results"]] == ids[::-1]
    assert [item["id"] for item in caller.get("jobs", limit=1).json()["results"]] == ids[-1:]


@slashes
def test_claimed_tasks_have_the_fields_of_the_field(caller, job, slash):
    answer = caller.post(f"jobs/{job.id}/tasks{slash}", {"batch_size": 3}).json()
    assert len(answer["tasks"]) == 3
    task = answer["tasks"][0]
    assert {"id", "image_id", "image_url", "reply_subject"} <= task.keys()
    assert task["id"] == task["image_id"]
    assert task["image_url"].startswith(f"http://testserver/media/images/{task['id']}?signature=")
    assert all(isinstance(task[name], str) for name in ("id", "image_id", "image_url", "reply_subject"))


def test_a_claim_of_any_job_says_of_which_job_and_pipeline_its_tasks_are(caller, job):
    answer = caller.post("tasks/claim", {"pipelines": ["others", "blobs"], "batch_size": 2, "worker": "w7"}).json()
    assert (answer["job_id"], answer["pipeline"], len(answer["tasks"])) == (job.id, "blobs", 2)
    assert answer["ack_wait_seconds"] == 30.0
    assert Worker.objects.get(name="w7").pipelines == ["blobs", "others"]


def test_a_claim_that_finds_nothing_is_an_empty_list(caller, project_id):
    answer = caller.post("tasks/claim", {"pipelines": ["blobs"]}).json()
    assert (answer["job_id"], answer["tasks"]) == (None, [])


@slashes
def test_posted_results_are_answered_one_by_one(caller, job, slash):
    tasks = caller.claim(job.id, 2)
    results = [
        {"reply_subject": tasks[0]["reply_subject"], "result": given.output(tasks[0]["image_id"])},
        {"reply_subject": tasks[1]["reply_subject"], "result": {"error": "dark", "image_id": tasks[1]["image_id"]}},
    ]
    answer = caller.post(f"jobs/{job.id}/result{slash}", {"results": results}).json()
    assert answer == {
        "status": "accepted",
        "job_id": job.id,
        "results_queued": 2,
        "tasks": [
            {"reply_subject": task["reply_subject"], "status": "saved", "task_id": task["id"], "reason": None}
            for task in tasks
        ],
    }
    assert Detection.objects.count() == 2


@slashes
def test_a_service_registers_its_pipelines(caller, project_id, slash):
    body = {
        "processing_service_name": "gpu box",
        "pipelines": [
            {"name": "Moths", "slug": "moths", "version": 2, "algorithms": [{"key": "a", "name": "A", "extra": 1}]},
            {"name": "Bees", "slug": "bees", "version": "v3", "algorithms": []},
        ],
    }
    assert caller.post(f"projects/{project_id}/pipelines{slash}", body).json() == {"pipelines": ["moths", "bees"]}
    moths = Pipeline.objects.get(slug="moths")
    assert (moths.name, moths.version, moths.algorithms[0]["key"]) == ("Moths", "2", "a")
    assert ProcessingService.objects.get(name="gpu box").pipelines.count() == 2


def test_registering_again_changes_what_is_offered_and_makes_nothing_twice(caller, project_id):
    for version in ("1", "2"):
        offer = {"name": "Blobs", "slug": "blobs", "version": version}
        caller.post(f"projects/{project_id}/pipelines", {"processing_service_name": "box", "pipelines": [offer]})
    assert Pipeline.objects.get().version == "2"
    assert ProcessingService.objects.count() == 1


def test_a_job_is_submitted_shown_and_cancelled(caller, project_id):
    given.collection(project_id, 2)
    body = {"pipeline": "blobs", "dispatch_mode": "async_api", "name": "n", "config": {"collection": "night"}}
    response = caller.post("jobs", body)
    assert response.status_code == 201
    made = response.json()
    assert (made["status"], made["task_total"], made["pipeline_slug"]) == ("PENDING", None, "blobs")
    assert caller.get(f"jobs/{made['id']}").json() == made
    cancelled = caller.post(f"jobs/{made['id']}/cancel").json()
    assert (cancelled["status"], cancelled["certificates"][0]["status"]) == ("REVOKED", "REVOKED")


@pytest.mark.parametrize(
    ("body", "waiting"), [("", 1), ("{}", 1), ('{"only": "failed"}', 1), ('{"only": "unfinished"}', 3)]
)
def test_a_job_that_has_ended_is_retried(caller, job, body, waiting):
    tasks = caller.claim(job.id)
    failed = {"reply_subject": tasks[1]["reply_subject"], "result": {"error": "no", "image_id": tasks[1]["image_id"]}}
    caller.post_results(job.id, [as_result(tasks[0]), failed])
    caller.post(f"jobs/{job.id}/cancel")
    response = caller.post_text(f"jobs/{job.id}/retry", body)
    assert response.status_code == 200, response.content
    shown = response.json()
    assert (shown["status"], shown["run"], [item["run"] for item in shown["certificates"]]) == ("PENDING", 2, [1])
    assert shown["bound"] == {
        "can_succeed": True,
        "failures_left": 2,
        "says": "can still succeed: at most 2 more failures",
    }
    assert len(caller.get(f"jobs/{job.id}/ledger", state="waiting").json()["results"]) == waiting


def test_a_job_is_submitted_to_fail_fast(caller, project_id):
    given.collection(project_id, 2)
    body = {"pipeline": "blobs", "config": {"collection": "night"}}
    assert caller.post("jobs", body).json()["fail_fast"] is False
    assert caller.post("jobs", body | {"fail_fast": True}).json()["fail_fast"] is True


def test_a_shown_job_has_its_stages_counts_and_certificate(caller, job):
    tasks = caller.claim(job.id)
    caller.post_results(job.id, [as_result(task) for task in tasks[:3]])
    shown = caller.get(f"jobs/{job.id}").json()
    assert shown["stages"] == [
        {"stage": "collect", "total": 4, "done": 4, "failed": 0},
        {"stage": "process", "total": 4, "done": 3, "failed": 0},
        {"stage": "results", "total": 4, "done": 3, "failed": 0},
    ]
    assert (shown["status"], shown["counts"], shown["certificates"]) == ("STARTED", {"detections": 6}, [])
    caller.post_results(job.id, [as_result(tasks[3])])
    shown = caller.get(f"jobs/{job.id}").json()
    assert (shown["status"], shown["counts"]) == ("SUCCESS", {"detections": 8})
    (certificate,) = shown["certificates"]
    assert certificate["arithmetic"] == "0 failed / 4 = 0.0000 <= 0.5"
    assert certificate["counts"]["saved"] == 4


def as_result(task):
    return {"reply_subject": task["reply_subject"], "result": given.output(task["image_id"])}


def test_a_jobs_log_can_be_read_on_from_where_one_stopped(caller, job):
    lines = caller.get(f"jobs/{job.id}/events").json()["results"]
    assert [line["name"] for line in lines] == [
        "job.submitted",
        "job.pending",
        "job.started",
        "job.collected",
        "job.published",
    ]
    assert caller.get(f"jobs/{job.id}/events", after=lines[2]["id"]).json()["results"] == lines[3:]


def test_the_ledger_names_the_reason_of_each_failure_page_by_page(caller, job):
    tasks = caller.claim(job.id)
    errors = [{"reply_subject": task["reply_subject"], "result": {"error": "dark"}} for task in tasks[:3]]
    caller.post_results(job.id, errors)
    first = caller.get(f"jobs/{job.id}/ledger", state="failed", limit=2).json()
    assert [(row["ordinal"], row["error"], row["attempts"]) for row in first["results"]] == [
        (0, "dark", 1),
        (1, "dark", 1),
    ]
    second = caller.get(f"jobs/{job.id}/ledger", state="failed", limit=2, after=first["next_after"]).json()
    assert [row["ordinal"] for row in second["results"]] == [2]
    assert second["next_after"] is None


def test_an_audit_over_the_api_gives_the_sum(caller, job):
    answer = caller.get(f"jobs/{job.id}/audit").json()
    assert (answer["clean"], answer["offences"]) == (True, [])
    assert "4 = 4 waiting + 0 leased + 0 received + 0 saved + 0 failed + 0 cancelled" in answer["line"]


@pytest.mark.parametrize(
    ("export_format", "content_type"),
    [("csv", "text/csv; charset=utf-8"), ("jsonl", "application/jsonl"), ("coco", "application/json")],
)
def test_an_export_is_streamed_in_its_own_type(caller, job, export_format, content_type):
    caller.post_results(job.id, [as_result(task) for task in caller.claim(job.id)])
    response = caller.get(f"jobs/{job.id}/export", format=export_format)
    assert response["Content-Type"] == content_type
    assert b"moth" in response.getvalue()


def test_leases_are_extended_and_released(caller, job):
    leases = [task["reply_subject"] for task in caller.claim(job.id, 2)]
    answer = caller.post("tasks/extend", {"leases": leases}).json()
    assert answer == {"leases": [{"reply_subject": lease, "status": "extended", "reason": None} for lease in leases]}
    answer = caller.post("tasks/release", {"leases": [*leases, "invented"]}).json()
    assert [item["status"] for item in answer["leases"]] == ["released", "released", "rejected"]
    assert len(caller.claim(job.id)) == 4


def test_the_offered_pipelines_are_listed(caller, project_id):
    assert caller.get(f"projects/{project_id}/pipelines").json() == {"pipelines": ["blobs"]}


def test_an_address_that_workers_reach_can_be_configured(caller, job, deployment, monkeypatch):
    behind_a_proxy = deployment.settings.model_copy(update={"public_url": "https://moths.example/"})
    monkeypatch.setitem(deployment.__dict__, "settings", behind_a_proxy)
    assert caller.claim(job.id, 1)[0]["image_url"].startswith("https://moths.example/media/images/")


def test_a_worker_needs_the_work_scope_and_no_more(caller_with, job):
    worker = caller_with(Scope.WORK)
    assert worker.request("GET", f"jobs?{FIELD_QUERY}").status_code == 200
    assert len(worker.claim(job.id)) == 4
