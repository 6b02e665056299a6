"""Jobs of kind ``ml`` over imported pictures: what they take on, what they save, and what spoils a result."""

import json
from pathlib import Path

import pytest

from headcount.domain.states import DispatchMode
from headcount.errors import BadInputError
from headcount.flow.receive import receive
from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.models import Job, Task
from headcount.store import jobs, ledger
from headcount_images.models import Classification, Detection, Image
from headcount_worker.errors import UnusableImageError
from headcount_worker.examples.decoding import decode_photo
from tests.flow import given
from tests.flow.given import assert_ended, claimed, dispatched, failure, posted, submitted, success
from tests.images.conftest import draw

pytestmark = pytest.mark.django_db


def request(project_id, **changes):
    options = {"pipeline": given.SLUG, "config": {"collection": "night"}} | changes
    return JobRequest(project_id, "ml", DispatchMode.ASYNC_API, **options)


@pytest.mark.parametrize("config", [{}, {"collection": ""}, {"collection": None}])
def test_a_job_without_a_collection_is_told_that_it_needs_one(deployment, project_id, config):
    with pytest.raises(BadInputError, match="needs the name of a collection"):
        submit(deployment, request(project_id, config=config))
    assert not Job.objects.exists()


def test_an_unknown_collection_is_answered_with_those_of_the_project_alone(deployment, project_id):
    given.collection(project_id, 1, "monday")
    given.collection(given.project("bees"), 1, "hive")
    with pytest.raises(BadInputError) as refused:
        submit(deployment, request(project_id))
    assert str(refused.value) == "there is no collection 'night' in this project; there are: monday"


def test_an_unknown_collection_in_an_empty_project_is_told_that_there_is_none_yet(deployment, project_id):
    with pytest.raises(BadInputError, match="none yet"):
        submit(deployment, request(project_id))


def test_an_unknown_pipeline_is_answered_with_those_on_offer(deployment, project_id):
    given.collection(project_id, 1)
    with pytest.raises(BadInputError, match=r"'orchids' in this project; offered are: blobs"):
        submit(deployment, request(project_id, pipeline="orchids"))
    assert not Job.objects.exists()


def test_a_remote_job_without_a_pipeline_is_told_that_it_needs_one(deployment, project_id):
    given.collection(project_id, 1)
    with pytest.raises(BadInputError, match="needs a pipeline"):
        submit(deployment, request(project_id, pipeline=None))


def test_images_added_after_the_submission_are_not_in_the_job(deployment, imported, project_id, folder):
    draw(folder / "a.jpg")
    imported(folder)
    job = submit(deployment, request(project_id))
    draw(folder / "b.jpg")
    imported(folder)
    run_job(deployment, job.ref)
    assert jobs.get(job.id).task_total == 1
    assert Task.objects.get(job_id=job.id).key == str(Image.objects.get(name="a.jpg").pk)


def test_a_job_over_an_empty_collection_succeeds_whatever_is_added_later(deployment, project_id):
    collection = given.collection(project_id, 0)
    job = submit(deployment, request(project_id))
    Image.objects.create(collection=collection, name="late.jpg", path="/late.jpg", width=1, height=1, size=1)
    run_job(deployment, job.ref)
    assert_ended(deployment, job, "SUCCESS")


def test_a_picture_cut_short_behind_its_header_fails_in_detection_with_a_reason(
    deployment, imported, project_id, folder
):
    whole = draw(folder / "good.jpg", (160, 120)).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    assert imported(folder).status == "SUCCESS"
    job = submit(deployment, request(project_id))
    run_job(deployment, job.ref)
    posted(deployment, job, [worked_on(task) for task in claimed(deployment, job)])
    assert_ended(deployment, job, "SUCCESS", saved=1, failed=1, detections=1)
    assert "the JPEG is cut off" in Task.objects.get(job_id=job.id, state="failed").error


def worked_on(task):
    """What a worker posts that does nothing but read the picture."""
    path = Path(Image.objects.get(pk=task.task.key).path)
    try:
        decode_photo(path.read_bytes())
    except UnusableImageError as error:
        return failure(task, str(error))
    return success(task, detections=1)


def test_what_a_result_says_is_saved_field_by_field(deployment):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    assert posted(deployment, job, [success(task, 1)]) == ["saved"]
    detection = Detection.objects.get()
    assert (detection.task.ordinal, str(detection.image_id), detection.job_id) == (0, task.task.key, job.id)
    assert (detection.x1, detection.y1, detection.x2, detection.y2) == (0, 1, 20.5, 30)
    assert (detection.position, detection.algorithm) == (0, "blobs")
    assert detection.detected_at.isoformat() == "2026-01-01T00:00:00+00:00"
    found = Classification.objects.get()
    assert (found.label, found.scores, found.algorithm, found.terminal) == ("moth", [0.9], "blobs", True)
    assert (found.detection_id, found.position) == (detection.pk, 0)
    assert found.classified_at.isoformat() == "2026-01-01T00:00:00+00:00"


def test_a_batch_that_is_posted_three_times_is_saved_once(deployment):
    job = dispatched(deployment, 4)
    batch = [success(task) for task in claimed(deployment, job)]
    assert posted(deployment, job, batch[:3]) == ["saved"] * 3
    assert posted(deployment, job, batch) == ["duplicate"] * 3 + ["saved"]
    assert posted(deployment, job, batch) == ["duplicate"] * 4
    assert_ended(deployment, job, "SUCCESS", saved=4)


def test_a_result_twice_in_one_request_is_saved_once(deployment):
    job = dispatched(deployment, 2)
    first, second = (success(task) for task in claimed(deployment, job))
    assert posted(deployment, job, [first, second, first]) == ["saved", "saved", "duplicate"]
    assert_ended(deployment, job, "SUCCESS", saved=2)


def without(field):
    def spoil(result):
        del result[field]

    return spoil


def box_of_strings(result):
    result["detections"][0]["bbox"] = {"x1": "left", "y1": "0", "x2": "right", "y2": "1"}


def two_images(result):
    result["source_images"].append({"id": "999999", "url": ""})


def detection_of_another_image(result):
    result["detections"][0]["source_image_id"] = "999999"


def box_without_a_corner(result):
    del result["detections"][0]["bbox"]["y2"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without("detections"), "detections: Field required"),
        (without("source_images"), "source_images: Field required"),
        (without("pipeline"), "pipeline: Field required"),
        (without("total_time"), "total_time: Field required"),
        (box_without_a_corner, "detections.0.bbox.y2: Field required"),
        (box_of_strings, "detections.0.bbox.x1: Input should be a valid number"),
        (two_images, "names several images"),
        (detection_of_another_image, "names several images"),
    ],
)
def test_a_result_that_does_not_fit_is_answered_with_what_is_wrong(deployment, spoil, words):
    job = dispatched(deployment, 5)
    batch = [success(task) for task in claimed(deployment, job)]
    spoil(batch[2]["result"])
    answers = receive(deployment, job.id, job.project_id, batch)
    assert [str(answer.status) for answer in answers] == ["saved", "saved", "rejected", "saved", "saved"]
    assert words in answers[2].reason
    assert answers[2].reason.endswith("recorded as this task's failure")
    assert_ended(deployment, job, "SUCCESS", saved=4, failed=1)
    assert words in Task.objects.get(state="failed").error


def test_a_result_for_another_image_is_refused_and_the_task_waits_for_its_own(deployment):
    job = dispatched(deployment, 5)
    tasks = claimed(deployment, job)
    batch = [success(task) for task in tasks]
    batch[2]["result"] = given.output("999999", 2)
    answers = receive(deployment, job.id, job.project_id, batch)
    assert [str(answer.status) for answer in answers] == ["saved", "saved", "rejected", "saved", "saved"]
    assert answers[2].reason == f"the result names '999999' but the lease is for '{tasks[2].task.key}'"
    counts = ledger.counts(job.id)
    assert (counts.saved, counts.leased, counts.failed) == (4, 1, 0)
    assert posted(deployment, job, [success(tasks[2])]) == ["saved"]
    assert_ended(deployment, job, "SUCCESS", saved=5)


def test_an_error_for_another_image_fails_nobody(deployment):
    job = dispatched(deployment, 2)
    first, second = claimed(deployment, job)
    wrong = {"reply_subject": first.token, "result": {"error": "dark", "image_id": second.task.key}}
    assert posted(deployment, job, [wrong]) == ["rejected"]
    counts = ledger.counts(job.id)
    assert (counts.leased, counts.failed) == (2, 0)


@pytest.mark.parametrize("result", [None, 7, "done", [], [{}], True])
def test_a_result_that_is_no_object_fails_its_own_task_alone(deployment, result):
    job = dispatched(deployment, 5)
    batch = [success(task) for task in claimed(deployment, job)]
    batch[2]["result"] = result
    assert posted(deployment, job, batch) == ["saved", "saved", "rejected", "saved", "saved"]
    assert_ended(deployment, job, "SUCCESS", saved=4, failed=1)
    assert Task.objects.get(state="failed").error == "the result does not fit: the result is not a JSON object"


def test_nesting_ten_thousand_levels_deep_fails_its_own_task_alone(deployment):
    job = dispatched(deployment, 5)
    batch = [success(task) for task in claimed(deployment, job)]
    deep = []
    for _ in range(10_000):
        deep = [deep]
    batch[2]["result"]["detections"] = deep
    assert posted(deployment, job, batch) == ["saved", "saved", "rejected", "saved", "saved"]
    assert_ended(deployment, job, "SUCCESS", saved=4, failed=1)


@pytest.mark.parametrize(
    ("written", "spoilt"),
    [
        ('"x1": 0', '"x1": NaN'),
        ('"x1": 0', '"x1": -1'),
        ('"x2": 20.5', '"x2": Infinity'),
        ('"x2": 20.5', '"x2": 1e999'),
        ('"x2": 20.5', '"x2": 1' + "0" * 400),
        ('"moth"', r'"a\u0000b"'),
        ('"moth"', r'"\ud800"'),
        ("[0.9]", "[1e999]"),
    ],
    ids=["NaN", "negative", "infinity", "beyond a float", "a long integer", "NUL", "surrogate", "score beyond a float"],
)
def test_poison_as_it_travels_in_json_is_isolated_too(deployment, written, spoilt):
    job = dispatched(deployment, 5)
    texts = [json.dumps(success(task)) for task in claimed(deployment, job)]
    assert written in texts[2]
    texts[2] = texts[2].replace(written, spoilt)
    answers = receive(deployment, job.id, job.project_id, [json.loads(text) for text in texts])
    assert [str(answer.status) for answer in answers] == ["saved", "saved", "rejected", "saved", "saved"]
    assert answers[2].reason
    assert_ended(deployment, job, "SUCCESS", saved=4, failed=1)


def test_half_a_surrogate_pair_in_an_error_is_mended_and_kept(deployment):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    assert posted(deployment, job, [failure(task, "broken \ud800 and \x00")]) == ["saved"]
    assert "broken" in Task.objects.get().error
    assert_ended(deployment, job, "FAILURE", failed=1)


def test_a_submitted_job_says_which_collection_it_is_over(deployment):
    job = submitted(deployment, 3)
    assert job.config["collection"] == "night-0"
    assert job.config["last_image_id"] == Image.objects.order_by("-pk").first().pk
