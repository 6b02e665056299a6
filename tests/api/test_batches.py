"""One request, many results, an answer for each: what is wrong with one keeps no other from being saved."""

import pytest

from headcount.models import Task
from headcount_images.models import Image
from tests.flow import given
from tests.flow.given import assert_ended

pytestmark = pytest.mark.django_db


def good(task, **changes):
    return {"reply_subject": task["reply_subject"], "result": given.output(task["image_id"]) | changes}


def altered(token):
    """The token with one character changed, in a place that carries information."""
    return token[:20] + ("A" if token[20] != "A" else "B") + token[21:]


@pytest.fixture
def mixed(deployment, caller, project_id):
    """A job of twelve tasks and a batch in which every second result is wrong in its own way."""
    job = given.dispatched(deployment, 12, project_id)
    other = given.dispatched(deployment, 1, project_id)
    tasks = caller.claim(job.id, 12)
    (foreign,) = caller.claim(other.id, 1)
    poison = given.output(tasks[1]["image_id"])
    poison["detections"][0]["classifications"][0]["classification"] = "x" * 501
    return (
        job,
        tasks,
        [
            ("saved", None, good(tasks[0])),
            ("rejected", "recorded as this task's failure", {**good(tasks[1]), "result": poison}),
            ("saved", None, good(tasks[2])),
            ("rejected", "was posted to job", good(foreign)),
            ("rejected", "not issued by this deployment", {**good(tasks[3]), "reply_subject": "invented"}),
            ("rejected", "was altered", {**good(tasks[3]), "reply_subject": altered(tasks[3]["reply_subject"])}),
            ("saved", None, good(tasks[4])),
            ("rejected", "not a JSON object", {"reply_subject": tasks[5]["reply_subject"], "result": [1]}),
            ("rejected", "total_time", {"reply_subject": tasks[6]["reply_subject"], "result": {"pipeline": "blobs"}}),
            ("rejected", "but the lease is for", {**good(tasks[8]), "reply_subject": tasks[7]["reply_subject"]}),
            ("saved", None, good(tasks[9])),
            ("duplicate", "the same request", good(tasks[9])),
            ("rejected", "needs its reply_subject", {"result": {}}),
            ("rejected", "needs its reply_subject", "nonsense"),
            ("rejected", "needs its reply_subject", None),
            ("rejected", "needs its reply_subject", {"reply_subject": 7}),
            ("saved", None, {"reply_subject": tasks[10]["reply_subject"], "result": {"error": "dark"}}),
        ],
    )


def test_every_result_of_a_mixed_batch_is_answered_by_itself(caller, mixed):
    job, _, batch = mixed
    answer = caller.post_results(job.id, [item for _, _, item in batch])
    for (status, words, _), said in zip(batch, answer["tasks"], strict=True):
        assert said["status"] == status
        assert (words is None) == (said["reason"] is None)
        assert (words or "") in (said["reason"] or "")
    assert answer["results_queued"] == [status for status, _, _ in batch].count("saved")


def test_the_counts_after_a_mixed_batch_are_exact_and_the_job_goes_on_to_its_end(caller, deployment, mixed):
    job, tasks, batch = mixed
    caller.post_results(job.id, [item for _, _, item in batch])
    states = dict(Task.objects.filter(job_id=job.id).values_list("ordinal", "state"))
    assert [n for n, state in states.items() if state == "saved"] == [0, 2, 4, 9]
    assert [n for n, state in states.items() if state == "failed"] == [1, 5, 6, 10]
    assert [n for n, state in states.items() if state == "leased"] == [3, 7, 8, 11]
    caller.post_results(job.id, [good(tasks[n]) for n in (3, 7, 8, 11)])
    assert_ended(deployment, job, "SUCCESS", saved=8, failed=4)


def test_the_same_mixed_batch_again_changes_nothing(caller, mixed):
    job, _, batch = mixed
    items = [item for _, _, item in batch]
    caller.post_results(job.id, items)
    before = list(Task.objects.order_by("id").values())
    answers = [item["status"] for item in caller.post_results(job.id, items)["tasks"]]
    assert "saved" not in answers
    assert list(Task.objects.order_by("id").values()) == before


@pytest.mark.django_db(transaction=True)
def test_a_result_that_the_database_refuses_when_it_commits_fails_alone(caller, deployment, project_id):
    job = given.dispatched(deployment, 8, project_id)
    tasks = caller.claim(job.id, 8)
    Image.objects.get(pk=int(tasks[5]["image_id"])).delete()
    answers = caller.post_results(job.id, [good(task) for task in tasks])["tasks"]
    assert [answer["status"] for answer in answers] == ["saved"] * 5 + ["rejected"] + ["saved"] * 2
    assert "could not be saved" in answers[5]["reason"]
    assert_ended(deployment, job, "SUCCESS", saved=7, failed=1)


@pytest.mark.parametrize("subject", ["", "\ud800", "a\x00b", "x" * 100_000, "ä", "-_" * 30, "===="])
def test_a_token_in_no_form_at_all_is_answered_and_stops_nobody(caller, job, subject):
    (task,) = caller.claim(job.id, 1)
    answers = caller.post_results(job.id, [{"reply_subject": subject, "result": {}}, good(task)])["tasks"]
    assert [answer["status"] for answer in answers] == ["rejected", "saved"]


@pytest.mark.parametrize("error", ["a\x00b", "\ud800", "x" * 1_000_000, "", "   ", "line\nline"])
def test_a_workers_reason_is_mended_where_no_database_would_store_it(caller, job, error):
    (task,) = caller.claim(job.id, 1)
    item = {"reply_subject": task["reply_subject"], "result": {"error": error, "image_id": task["image_id"]}}
    assert caller.post_results(job.id, [item])["tasks"][0]["status"] == "saved"
    kept = Task.objects.get(job_id=job.id, state="failed").error
    assert 0 < len(kept) <= 2000


@pytest.mark.parametrize("error", [None, 7, [], {}])
def test_an_error_that_is_no_text_is_a_failure_all_the_same(caller, job, error):
    (task,) = caller.claim(job.id, 1)
    answer = caller.post_results(job.id, [{"reply_subject": task["reply_subject"], "result": {"error": error}}])
    assert answer["tasks"][0]["status"] == "rejected"
    assert Task.objects.filter(job_id=job.id, state="failed").count() == 1


def test_an_error_result_that_names_another_image_is_refused_and_the_task_stays_open(caller, job):
    one, two = caller.claim(job.id, 2)
    item = {"reply_subject": one["reply_subject"], "result": {"error": "dark", "image_id": two["image_id"]}}
    (answer,) = caller.post_results(job.id, [item])["tasks"]
    assert answer["status"] == "rejected"
    assert Task.objects.filter(job_id=job.id, state="leased").count() == 2


def test_an_empty_batch_is_accepted(caller, job):
    assert caller.post_results(job.id, []) == {
        "status": "accepted",
        "job_id": job.id,
        "results_queued": 0,
        "tasks": [],
    }
