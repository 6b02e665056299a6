"""Whatever is wrong with a request, the answer is a problem document that says so."""

import json

import pytest
from django.db import OperationalError

from headcount.models import Job
from headcount.store import registry
from headcount_images.models import Image
from tests.api.callers import assert_problem
from tests.flow import given

pytestmark = pytest.mark.django_db

POSTS = ["jobs", "jobs/{job}/tasks", "jobs/{job}/result", "tasks/claim", "tasks/extend", "projects/{project}/pipelines"]
each_post = pytest.mark.parametrize("path", POSTS)
MEGABYTE = 1024 * 1024


def at(path, job):
    return path.format(job=job.id, project=job.project_id)


@each_post
@pytest.mark.parametrize("text", ["{", " ", "nonsense", b"\xff\xfe", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_malformed_json_is_refused(caller, job, path, text):
    response = caller.post_text(at(path, job), text)
    assert_problem(response, 400)


@each_post
@pytest.mark.parametrize("body", [[], "text", 7, None, True])
def test_json_that_is_no_object_is_refused(caller, job, path, body):
    assert_problem(caller.post_text(at(path, job), json.dumps(body)), 400, "not a JSON object")


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("jobs", {"failure_threshold": 1.5}, "failure_threshold"),
        ("jobs", {"failure_threshold": "much"}, "failure_threshold"),
        ("jobs", {"priority": 10**9}, "priority"),
        ("jobs", {"config": []}, "config"),
        ("jobs", {"dispatch_mode": "carrier_pigeon"}, "dispatch_mode"),
        ("jobs", {"name": "x" * 201}, "name"),
        ("jobs/{job}/tasks", {"batch_size": 0}, "batch_size"),
        ("jobs/{job}/tasks", {"batch_size": "eight"}, "batch_size"),
        ("jobs/{job}/result", {"results": {}}, "results"),
        ("jobs/{job}/result", {}, "results"),
        ("tasks/claim", {"pipelines": []}, "pipelines"),
        ("tasks/claim", {"pipelines": ["blobs"], "wait_seconds": -1}, "wait_seconds"),
        ("tasks/extend", {"leases": [7]}, "leases"),
        ("projects/{project}/pipelines", {"processing_service_name": "", "pipelines": []}, "processing_service_name"),
        (
            "projects/{project}/pipelines",
            {"processing_service_name": "box", "pipelines": [{"name": "n", "slug": "no spaces"}]},
            "slug",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_named(caller, job, path, body, where):
    document = assert_problem(caller.post(at(path, job), body), 422, where)
    assert document["errors"][0]["where"].split(".")[-1] == where or document["errors"][0]["where"].startswith(where)


@pytest.mark.parametrize("path", ["jobs/{job}/result", "tasks/claim", "tasks/extend", "projects/{project}/pipelines"])
def test_no_body_at_all_is_refused_where_one_is_needed(caller, job, path):
    assert_problem(caller.post_text(at(path, job), ""), 422, "body")


@pytest.mark.parametrize("text", ['{"failure_threshold": NaN}', '{"failure_threshold": Infinity}'])
def test_numbers_that_are_none_are_refused(caller, text):
    assert_problem(caller.post_text("jobs", text), 422, "failure_threshold")


@pytest.mark.parametrize("bad", ["a\x00b", "\ud800"], ids=["NUL", "half a surrogate pair"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("jobs", {"name": "BAD", "pipeline": "blobs", "config": {"collection": "night-0"}}),
        ("jobs", {"pipeline": "BAD", "config": {"collection": "night-0"}}),
        ("jobs", {"kind": "BAD"}),
        ("jobs", {"pipeline": "blobs", "config": {"collection": "BAD"}}),
        ("jobs", {"pipeline": "blobs", "config": {"collection": "night-0", "further": ["BAD"]}}),
        ("jobs", {"pipeline": "blobs", "config": {"collection": "night-0", "BAD": 1}}),
        ("jobs", {"kind": "import_images", "config": {"directory": "BAD"}}),
        ("jobs/{job}/tasks", {"worker": "BAD"}),
        ("tasks/claim", {"pipelines": ["BAD"]}),
        ("tasks/claim", {"pipelines": ["blobs"], "worker": "BAD"}),
        ("projects/{project}/pipelines", {"processing_service_name": "BAD", "pipelines": [{"name": "n", "slug": "s"}]}),
        ("projects/{project}/pipelines", {"processing_service_name": "b", "pipelines": [{"name": "BAD", "slug": "s"}]}),
        (
            "projects/{project}/pipelines",
            {"processing_service_name": "b", "pipelines": [{"name": "n", "slug": "s", "version": "BAD"}]},
        ),
        (
            "projects/{project}/pipelines",
            {"processing_service_name": "b", "pipelines": [{"name": "n", "slug": "s", "algorithms": [{"key": "BAD"}]}]},
        ),
    ],
)
def test_text_that_no_database_stores_is_refused_at_the_door(caller, job, path, body, bad):
    text = json.dumps(body).replace("BAD", json.dumps(bad)[1:-1])
    assert_problem(caller.post_text(at(path, job), text), 422)
    assert Job.objects.count() == 1


def test_a_configuration_that_is_nested_too_deep_is_refused(caller, job):
    nested = '{"a":' * 200 + "1" + "}" * 200
    body = f'{{"pipeline": "blobs", "config": {{"collection": "night-0", "further": {nested}}}}}'
    assert_problem(caller.post_text("jobs", body), 422, "nested")


def test_a_version_longer_than_its_column_is_refused(caller, project_id):
    offer = {"name": "n", "slug": "s", "version": "9" * 101}
    body = {"processing_service_name": "b", "pipelines": [offer]}
    assert_problem(caller.post(f"projects/{project_id}/pipelines", body), 422, "version")


def test_filters_that_do_not_fit_are_refused(caller, job):
    assert_problem(caller.get("jobs", dispatch_mode="pigeon"), 422, "dispatch_mode")
    assert_problem(caller.get("jobs", limit="many"), 422, "limit")
    assert_problem(caller.get(f"jobs/{job.id}/events", after="yesterday"), 422, "after")
    assert_problem(caller.get(f"jobs/{job.id}/ledger", state="lost"), 422, "state")


@pytest.mark.parametrize("number", [10**12, 10**18, 10**30, -(10**30)])
def test_numbers_beyond_every_column_find_nothing_and_break_nothing(caller, job, number):
    assert caller.get("jobs", limit=number).status_code == 200
    assert caller.get(f"jobs/{job.id}/events", after=number).status_code == 200
    assert caller.get(f"jobs/{job.id}/ledger", after=number).status_code == 200
    assert_problem(caller.get(f"jobs/{abs(number)}"), 404)
    claim = caller.post("tasks/claim", {"pipelines": ["blobs"], "batch_size": abs(number)})
    if abs(number) < 2**63:
        assert claim.status_code == 200
    else:
        assert_problem(claim, 422, "batch_size")


def test_a_filter_with_a_nul_finds_nothing_or_is_refused(caller, job):
    response = caller.get("jobs", pipeline__slug__in="a\x00b")
    assert response.status_code in {200, 422}


def test_unknown_fields_are_tolerated(caller, job):
    answer = caller.post(f"jobs/{job.id}/tasks", {"batch_size": 1, "colour": "green"})
    assert len(answer.json()["tasks"]) == 1
    assert caller.get("jobs", colour="green").status_code == 200
    (task,) = caller.claim(job.id, 1)
    result = given.output(task["image_id"]) | {"colour": "green"}
    result["detections"][0]["colour"] = "green"
    item = {"reply_subject": task["reply_subject"], "result": result, "colour": "green"}
    assert caller.post_results(job.id, [item])["tasks"][0]["status"] == "saved"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "jobs/999999"),
        ("GET", "jobs/999999/events"),
        ("GET", "jobs/999999/audit"),
        ("GET", "jobs/999999/export"),
        ("GET", "jobs/999999/ledger"),
        ("POST", "jobs/999999/cancel"),
        ("POST", "jobs/999999/retry"),
        ("POST", "jobs/999999/tasks"),
        ("POST", "jobs/999999/result"),
    ],
)
def test_an_unknown_job_is_not_found(caller, method, path):
    response = caller.get(path) if method == "GET" else caller.post(path, {"results": []})
    assert_problem(response, 404, "there is no job 999999 here")


def test_a_job_for_a_pipeline_that_nobody_offers_is_refused_and_those_offered_are_named(caller, job):
    body = {"pipeline": "orchids", "config": {"collection": "night-0"}}
    assert_problem(caller.post("jobs", body), 422, "'orchids'", "offered are: blobs")
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "magic"}, "'magic'"),
        ({"pipeline": "blobs"}, "name of a collection"),
        ({"pipeline": "blobs", "config": {"collection": "day"}}, "there is no collection 'day'"),
        ({"config": {"collection": "night-0"}}, "needs a pipeline"),
        ({"dispatch_mode": "internal", "config": {"collection": "night-0"}}, "run as async_api"),
        ({"kind": "import_images"}, "needs a folder"),
        ({"kind": "import_images", "config": {"directory": "/no/such/folder"}}, "there is no folder"),
        ({"kind": "import_images", "config": {"directory": "~nobody-of-this-name/x"}}, "folder"),
        ({"kind": "import_images", "config": {"directory": 7}}, "there is no folder"),
        ({"kind": "export_results", "config": {"job_id": 999999}}, "there is no job"),
        ({"kind": "export_results", "config": {"job_id": "JOB", "format": ["csv"]}}, "format"),
        ({"kind": "export_results", "config": {"job_id": "JOB", "format": "xls"}}, "format"),
    ],
)
def test_a_job_that_cannot_be_is_refused_with_what_would_fit(caller, job, body, words):
    if body.get("config", {}).get("job_id") == "JOB":
        body = {**body, "config": {**body["config"], "job_id": job.id}}
    assert_problem(caller.post("jobs", body), 422, words)
    assert Job.objects.count() == 1


def test_a_job_to_be_pushed_is_refused_while_it_cannot_be_with_what_to_do(caller, job, project_id):
    body = {"pipeline": "blobs", "dispatch_mode": "sync_api", "config": {"collection": "night-0"}}
    assert_problem(caller.post("jobs", body), 422, "headcount service add")
    registry.add_push_service(project_id, "box", "http://box", ["blobs"], job.created_at)
    assert_problem(caller.post("jobs", body), 422, "HEADCOUNT_PUBLIC_URL is not set: set it to")
    assert Job.objects.count() == 1


def test_an_unknown_export_format_is_refused(caller, job):
    assert_problem(caller.get(f"jobs/{job.id}/export", format="xls"), 422, "'xls'", "csv, jsonl, coco")


def test_a_job_that_cannot_be_retried_is_refused_with_what_to_do(caller, job):
    assert_problem(caller.post(f"jobs/{job.id}/retry"), 409, "only a job that has ended can be retried")
    caller.post(f"jobs/{job.id}/cancel")
    assert_problem(caller.post(f"jobs/{job.id}/retry"), 409, "nothing to retry", "retry it as unfinished")
    assert_problem(caller.post(f"jobs/{job.id}/retry", {"only": "saved"}), 422, "only")


def test_a_job_that_has_ended_cannot_be_cancelled(caller, job):
    caller.post(f"jobs/{job.id}/cancel")
    assert_problem(caller.post(f"jobs/{job.id}/cancel"), 409, "has ended already, as REVOKED")


def test_a_body_of_twenty_megabytes_is_refused_and_nothing_is_lost(caller, job):
    (task,) = caller.claim(job.id, 1)
    body = {"results": [{"reply_subject": task["reply_subject"], "result": {"padding": "x" * (20 * MEGABYTE)}}]}
    document = assert_problem(caller.post(f"jobs/{job.id}/result", body), 413, "smaller batches")
    assert document["limit"] == 16 * MEGABYTE
    result = {"reply_subject": task["reply_subject"], "result": given.output(task["image_id"])}
    assert caller.post_results(job.id, [result])["results_queued"] == 1


def test_a_body_with_a_length_that_is_no_number_is_refused(caller):
    assert_problem(caller._client.post("/api/v2/jobs", CONTENT_LENGTH="-5", HTTP_X="y"), 422)


@pytest.mark.parametrize(("path", "name"), [("jobs/{job}/result", "results"), ("tasks/extend", "leases")])
def test_more_items_than_one_request_may_bring_are_refused(caller, job, deployment, path, name):
    items = ["x"] * (deployment.settings.max_batch + 1)
    assert_problem(caller.post(at(path, job), {name: items}), 413, "501 in one request", "at most 500")
    assert caller.post(at(path, job), {name: items[1:]}).status_code == 200


@pytest.mark.parametrize("path", ["tasks/claim", "tasks/extend", "jobs/{job}/tasks", "jobs/{job}/result"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_the_wrong_method_is_a_problem_document_that_names_the_right_one(caller, job, path, method):
    response = caller.request(method, at(path, job))
    assert_problem(response, 405, method)
    assert response["Allow"] == "POST"


@pytest.mark.parametrize("path", ["", "nonsense", "jobs/seven", "jobs/7/nonsense", "jobs/" + "9" * 5000])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_a_problem_document(caller, path, method):
    assert_problem(caller.request(method, path), 404, "there is nothing at")


def test_an_error_nobody_foresaw_is_a_problem_document_that_tells_nothing_of_the_inside(caller, job, monkeypatch):
    def breaks(*_, **__):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("headcount.api.jobs.audit", breaks)
    document = assert_problem(caller.get(f"jobs/{job.id}/audit"), 500)
    assert "secret" not in str(document)


def test_a_database_that_does_not_answer_is_temporary_and_says_when_to_come_back(caller, job, monkeypatch):
    def is_away(*_, **__):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr("headcount.store.ledger.account", is_away)
    (task,) = caller.claim(job.id, 1)
    result = {"reply_subject": task["reply_subject"], "result": given.output(task["image_id"])}
    response = caller.post(f"jobs/{job.id}/result", {"results": [result]})
    assert_problem(response, 503)
    assert int(response["Retry-After"]) > 0
    monkeypatch.undo()


def test_a_picture_without_a_valid_signature_is_refused(caller, job):
    image = Image.objects.first()
    for query in ({}, {"signature": "invented"}, {"signature": "é\x00"}):
        assert_problem(caller._client.get(f"/media/images/{image.pk}", query), 403, "no valid signature")


def test_the_signature_of_one_picture_opens_no_other(caller, job):
    tasks = caller.claim(job.id, 2)
    signature = tasks[0]["image_url"].partition("?signature=")[2]
    assert_problem(caller._client.get(f"/media/images/{tasks[1]['image_id']}", {"signature": signature}), 403)


def test_a_picture_whose_file_is_gone_is_not_found(caller, job):
    (task,) = caller.claim(job.id, 1)
    response = caller._client.get(task["image_url"].removeprefix("http://testserver"))
    assert_problem(response, 404, "cannot be read")


def test_an_unknown_path_outside_the_api_is_a_problem_document_too(caller):
    assert_problem(caller._client.get("/nonsense"), 404)
