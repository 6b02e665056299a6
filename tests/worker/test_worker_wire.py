from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from headcount_worker import wire

BOX = {"x1": 0, "y1": 1, "x2": 2.5, "y2": 3}
ALGORITHM = {"key": "moths"}


def output(**changes):
    detection = {"source_image_id": 4, "bbox": BOX, "algorithm": ALGORITHM}
    return {"pipeline": "p", "total_time": 0.5, "source_images": [{"id": 4}], "detections": [detection], **changes}


def classification(**changes):
    return {"classification": "moth", "scores": [0.5], "algorithm": ALGORITHM, **changes}


def test_a_result_survives_the_way_to_json_and_back():
    posted = wire.PostedResult.model_validate({"reply_subject": "lease", "result": output()})
    assert wire.PostedResult.model_validate_json(posted.model_dump_json()) == posted
    assert isinstance(posted.result, wire.TaskOutput)


@pytest.mark.parametrize("given", [7, "7"])
def test_ids_become_text(given):
    assert wire.SourceImage(id=given).id == "7"


@pytest.mark.parametrize("given", [True, None, [], "", "x" * 501, "a\x00b"])
def test_what_is_no_id_is_refused(given):
    with pytest.raises(ValidationError):
        wire.SourceImage(id=given)


def test_an_error_is_told_from_an_output():
    posted = wire.PostedResult.model_validate({"reply_subject": "lease", "result": {"error": "no", "image_id": 3}})
    assert posted.result == wire.TaskError(error="no", image_id="3")


def test_a_malformed_output_is_explained_as_an_output():
    with pytest.raises(ValidationError) as caught:
        wire.PostedResult.model_validate({"reply_subject": "lease", "result": output(total_time=-1)})
    assert [error["loc"] for error in caught.value.errors()] == [("result", "output", "total_time")]


@pytest.mark.parametrize(
    "box",
    [
        BOX | {"x1": 3},
        BOX | {"y2": 0.5},
        BOX | {"x1": -0.1},
        BOX | {"x2": float("nan")},
        BOX | {"x2": float("inf")},
        {"x1": 0},
    ],
)
def test_impossible_boxes_are_refused(box):
    with pytest.raises(ValidationError):
        wire.BoundingBox.model_validate(box)


def test_a_box_without_area_is_a_point_and_allowed():
    assert wire.BoundingBox(x1=1, y1=1, x2=1, y2=1).x2 == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": [float("nan")]},
        {"scores": [float("inf")]},
        {"scores": [0.1] * 100_001},
        {"classification": ""},
        {"classification": "x" * 501},
        {"classification": "a\x00b"},
        {"classification": "\ud800"},
        {"algorithm": {"key": "a\x00b"}},
    ],
)
def test_what_no_database_keeps_is_refused(changes):
    with pytest.raises(ValidationError):
        wire.Classification.model_validate(classification(**changes))


def test_a_classification_is_terminal_unless_it_says_otherwise():
    assert wire.Classification.model_validate(classification()).terminal
    assert not wire.Classification.model_validate(classification(terminal=False)).terminal


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-01T10:00:00", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("2024-05-01T10:00:00+02:00", datetime(2024, 5, 1, 8, tzinfo=UTC)),
    ],
)
def test_times_are_in_utc_and_naive_ones_are_taken_as_utc(text, moment):
    read = wire.Classification.model_validate(classification(timestamp=text)).timestamp
    assert read == moment
    assert read.utcoffset() == timedelta(0)


def test_a_time_before_the_first_year_is_refused_and_not_a_crash():
    with pytest.raises(ValidationError):
        wire.Classification.model_validate(classification(timestamp="0001-01-01T00:00:00+14:00"))


def test_too_many_detections_are_refused():
    one = output()["detections"][0]
    with pytest.raises(ValidationError):
        wire.TaskOutput.model_validate(output(detections=[one] * 10_001))


def test_unknown_fields_are_ignored_but_kept_on_a_task():
    assert wire.TaskOutput.model_validate(output(new_field=1)) == wire.TaskOutput.model_validate(output())
    task = wire.ClaimedTask.model_validate({"id": 1, "reply_subject": "l", "colour": "red", "payload": {"a": 1}})
    assert task.model_extra == {"colour": "red"}
    assert task.payload == {"a": 1}


def test_absent_parts_of_a_task_are_empty():
    task = wire.ClaimedTask.model_validate({"id": 1, "reply_subject": "l", "image_url": None, "payload": None})
    assert (task.image_url, task.image_id, task.payload) == ("", "", {})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  spaced\n", "spaced"),
        ("", "no reason given"),
        ("a\x00b", "a\ufffdb"),
        ("\ud800", "?"),
        ("x" * 9_999, "x" * 2_000),
    ],
)
def test_a_reason_is_mended_and_not_refused(given, kept):
    assert wire.TaskError(error=given).error == kept


@pytest.mark.parametrize("given", [None, 5, ["a"]])
def test_a_reason_is_text(given):
    with pytest.raises(ValidationError):
        wire.TaskError(error=given)


def test_tasks_without_a_job_are_refused():
    with pytest.raises(ValidationError):
        wire.ClaimedBatch.model_validate({"job_id": None, "tasks": [{"id": 1, "reply_subject": "l"}]})


def test_answers_of_a_first_generation_server_are_read():
    answer = wire.ResultsAccepted.model_validate({"status": "accepted", "job_id": 7, "results_queued": 1})
    assert answer.tasks == []


def test_the_models_describe_themselves_for_openapi():
    schema = TypeAdapter(wire.PostedResults).json_schema()
    assert {"TaskOutput", "TaskError", "Detection"} <= set(schema["$defs"])


def test_models_cannot_be_changed_after_reading():
    image = wire.SourceImage(id=1)
    with pytest.raises(ValidationError):
        image.id = "2"
