"""Results that no database could keep: each is isolated, and the others of its batch are saved."""

import pytest
from django.db import connection

from headcount.errors import EngineUnavailableError
from headcount.models import Task
from tests.flow import given
from tests.flow.given import assert_ended, claimed, dispatched, posted, success

pytestmark = pytest.mark.django_db

INFINITE, NOT_A_NUMBER = float("inf"), float("nan")


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def named_image(result):
    return result["source_images"][0]["id"]


def spoilt_detection(**changes):
    return lambda result: result["detections"][0].update(changes)


def spoilt_box(**changes):
    return lambda result: result["detections"][0]["bbox"].update(changes)


def spoilt_classification(**changes):
    return lambda result: result["detections"][0]["classifications"][0].update(changes)


def spoilt_result(**changes):
    return lambda result: result.update(changes)


POISON = {
    "NUL in a label": spoilt_classification(classification="a\x00b"),
    "half a surrogate pair in a label": spoilt_classification(classification="\ud800"),
    "a label that is too long": spoilt_classification(classification="x" * 501),
    "an empty label": spoilt_classification(classification=""),
    "an infinite score": spoilt_classification(scores=[INFINITE]),
    "a score that is no number": spoilt_classification(scores=[NOT_A_NUMBER]),
    "a score that is text": spoilt_classification(scores=["much"]),
    "an impossible time": spoilt_classification(timestamp="2026-13-45"),
    "a time before the year 1": spoilt_detection(timestamp="0001-01-01T00:00:00+14:00"),
    "NUL in an algorithm": spoilt_detection(algorithm={"name": "a", "key": "a\x00b"}),
    "an algorithm without a key": spoilt_detection(algorithm={"name": "a"}),
    "an infinite coordinate": spoilt_box(x2=INFINITE),
    "a negative infinite coordinate": spoilt_box(x1=-INFINITE),
    "a coordinate that is no number": spoilt_box(y1=NOT_A_NUMBER),
    "a coordinate beyond every float": spoilt_box(x2=10**400),
    "a negative coordinate": spoilt_box(x1=-1),
    "a box inside out": spoilt_box(x1=10, x2=5),
    "a box that is a list": spoilt_detection(bbox=[0, 0, 1, 1]),
    "detections that are no list": spoilt_result(detections={"a": 1}),
    "too many detections": spoilt_result(detections=[None] * 10_001),
    "an infinite time": spoilt_result(total_time=INFINITE),
    "a pipeline that is a number": spoilt_result(pipeline=7),
    "deep nesting where a list of detections belongs": spoilt_result(detections=nested(200)),
}
TOLERATED = {
    "deep nesting in a field nobody knows": spoilt_result(further=nested(200)),
    "an infinity in a field nobody knows": spoilt_result(further=INFINITE),
    "the largest float": spoilt_box(x2=1.7976931348623157e308, y2=1.7976931348623157e308),
    "the smallest float": spoilt_box(x1=5e-324),
    "a label in another script": spoilt_classification(classification="蛾 🦋"),
    "a label as long as may be": spoilt_classification(classification="x" * 500),
    "no score": spoilt_classification(scores=[]),
    "no time": spoilt_classification(timestamp=None),
    "a time with an offset": spoilt_classification(timestamp="2026-07-01T00:00:00+02:00"),
    "a time far ahead": spoilt_detection(timestamp="9999-12-31T23:59:59Z"),
    "an id that is a number": lambda result: result["source_images"][0].update(id=int(named_image(result))),
}


def posted_with(deployment, job, spoil):
    """Post a batch of five in which the third is spoilt."""
    tasks = claimed(deployment, job)
    batch = [success(task) for task in tasks]
    spoil(batch[2]["result"])
    return posted(deployment, job, batch)


@pytest.mark.parametrize("spoil", POISON.values(), ids=POISON.keys())
def test_poison_fails_alone(deployment, spoil):
    job = dispatched(deployment, 5)
    assert posted_with(deployment, job, spoil) == ["saved", "saved", "rejected", "saved", "saved"]
    assert_ended(deployment, job, "SUCCESS", saved=4, failed=1)
    assert Task.objects.get(job_id=job.id, ordinal=2).error.startswith("the result ")


@pytest.mark.parametrize("spoil", TOLERATED.values(), ids=TOLERATED.keys())
def test_what_is_odd_but_can_be_kept_is_saved(deployment, spoil):
    job = dispatched(deployment, 5)
    assert posted_with(deployment, job, spoil) == ["saved"] * 5
    assert_ended(deployment, job, "SUCCESS", saved=5)


def test_a_whole_batch_of_poison_fails_one_by_one(deployment):
    job = dispatched(deployment, 20)
    batch = [success(task) for task in claimed(deployment, job)]
    for item in batch:
        spoilt_classification(classification="a\x00b")(item["result"])
    assert posted(deployment, job, batch) == ["rejected"] * 20
    assert_ended(deployment, job, "FAILURE", failed=20)


def test_poison_that_only_saving_reveals_is_found_wherever_it_stands(deployment, monkeypatch):
    job = dispatched(deployment, 9)
    tasks = claimed(deployment, job)
    kind = deployment.kind("ml")
    save = kind.save

    def refuses_two(job, results):
        if {item.ordinal for item in results} & {0, 8}:
            raise ValueError("no such species\nsecond line")
        save(job, results)

    monkeypatch.setattr(kind, "save", refuses_two)
    answers = posted(deployment, job, [success(task) for task in tasks])
    assert answers == ["rejected"] + ["saved"] * 7 + ["rejected"]
    assert set(Task.objects.filter(state="failed").values_list("error", flat=True)) == {
        "the result could not be saved: no such species"
    }
    assert_ended(deployment, job, "SUCCESS", saved=7, failed=2)


def test_a_table_that_is_not_there_yet_is_no_results_fault(deployment, monkeypatch):
    job = dispatched(deployment, 2)
    tasks = claimed(deployment, job)

    def asks_for_what_a_migration_would_make(*_):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO headcount_images_not_migrated VALUES (1)")

    with monkeypatch.context() as patched:
        patched.setattr(deployment.kind("ml"), "save", asks_for_what_a_migration_would_make)
        with pytest.raises(EngineUnavailableError, match="not_migrated"):
            posted(deployment, job, [success(task) for task in tasks])
    assert posted(deployment, job, [success(task) for task in tasks]) == ["saved", "saved"]
    assert_ended(deployment, job, "SUCCESS", saved=2)


def test_a_result_with_hundreds_of_detections_is_saved_whole(deployment):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    posted(deployment, job, [success(task, detections=700)])
    assert_ended(deployment, job, "SUCCESS", saved=1, detections=700)


def test_a_result_without_detections_is_saved(deployment):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    posted(deployment, job, [{"reply_subject": task.token, "result": given.output(task.task.key, 0)}])
    assert_ended(deployment, job, "SUCCESS", saved=1, detections=0)
