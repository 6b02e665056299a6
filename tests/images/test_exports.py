"""Exports say what was saved: no more, no less, in a form that others read."""

import csv
import io
import json

import pytest

from headcount.errors import BadInputError
from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.store import jobs
from headcount_images.exports import export
from headcount_images.models import Detection, Image
from tests.flow import given
from tests.flow.given import claimed, dispatched, posted

pytestmark = pytest.mark.django_db

LABELS = ["moth", "Schmetterling, groß", 'a "quoted" one', "two\nlines", "蛾"]


@pytest.fixture
def job(deployment):
    """Seven images: the n-th has n detections with awkward labels, the last one failed."""
    made = dispatched(deployment, 7)
    for number, task in enumerate(claimed(deployment, made)):
        result = given.output(task.task.key, 0)
        result["detections"] = [given.detection(task.task.key, label) for label in LABELS[:number]]
        item = {"reply_subject": task.token, "result": result if number < 6 else {"error": "dark"}}
        posted(deployment, made, [item])
    return jobs.get(made.id)


def text(job, export_format):
    return "".join(export(job.id, export_format))


def saved():
    """Image name and label of every detection, in order."""
    rows = Detection.objects.order_by("image_id", "position")
    return [(row.image.name, row.classifications.get().label) for row in rows.select_related("image")]


def test_csv_has_a_row_for_each_detection(job):
    rows = list(csv.DictReader(io.StringIO(text(job, "csv"))))
    assert [(row["image"], row["label"]) for row in rows] == saved()
    assert len(rows) == 15
    first = rows[0]
    assert [float(first[name]) for name in ("x1", "y1", "x2", "y2", "score")] == [0, 1, 20.5, 30, 0.9]
    assert (first["detection_algorithm"], first["algorithm"]) == ("blobs", "blobs")
    assert first["detected_at"] == "2026-01-01T00:00:00+00:00"
    assert first["image_id"] == str(Image.objects.get(name="00001.jpg").pk)


def test_json_lines_has_an_object_for_each_detection(job):
    lines = [json.loads(line) for line in text(job, "jsonl").split("\n") if line]
    assert [(line["image"], line["classifications"][0]["label"]) for line in lines] == saved()
    assert lines[0]["bbox"] == [0, 1, 20.5, 30]
    assert lines[0]["classifications"][0]["scores"] == [0.9]


def test_coco_has_every_processed_image_and_every_detection_with_a_known_category(job):
    coco = json.loads(text(job, "coco"))
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    assert sorted(names.values()) == [f"{n:05}.jpg" for n in range(6)], "the failed one is not there"
    categories = {category["id"]: category["name"] for category in coco["categories"]}
    assert sorted(categories.values()) == sorted(LABELS)
    found = [(names[item["image_id"]], categories[item["category_id"]]) for item in coco["annotations"]]
    assert found == saved()
    assert coco["annotations"][0]["bbox"] == [0, 1, 20.5, 29]
    assert coco["annotations"][0]["area"] == 20.5 * 29
    assert len({item["id"] for item in coco["annotations"]}) == 15


@pytest.mark.parametrize("export_format", ["csv", "jsonl", "coco"])
def test_a_job_without_results_exports_an_empty_document(deployment, export_format):
    job = dispatched(deployment, 0)
    whole = text(job, export_format)
    if export_format == "coco":
        assert json.loads(whole)["annotations"] == []
    else:
        assert len(whole.splitlines()) == (1 if export_format == "csv" else 0)


@pytest.mark.parametrize("export_format", ["csv", "jsonl", "coco"])
def test_a_detection_without_a_classification_is_exported(deployment, export_format):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    result = given.output(task.task.key, 0) | {"detections": [given.detection(task.task.key, classifications=[])]}
    posted(deployment, job, [{"reply_subject": task.token, "result": result}])
    whole = text(job, export_format)
    if export_format == "coco":
        coco = json.loads(whole)
        known = {category["id"] for category in coco["categories"]}
        assert {item["category_id"] for item in coco["annotations"]} <= known, "readers look each category up"
    else:
        assert "00000.jpg" in whole


def test_of_several_classifications_the_best_terminal_one_is_the_label(deployment):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    detection = given.detection(task.task.key)
    (one,) = detection["classifications"]
    detection["classifications"] = [
        one | {"classification": "insect", "scores": [0.99], "terminal": False},
        one | {"classification": "moth", "scores": [0.3, 0.7]},
        one | {"classification": "fly", "scores": [0.6, 0.4]},
    ]
    result = given.output(task.task.key, 0) | {"detections": [detection]}
    posted(deployment, job, [{"reply_subject": task.token, "result": result}])
    (row,) = csv.DictReader(io.StringIO(text(job, "csv")))
    assert (row["label"], row["score"]) == ("moth", "0.7")
    assert len(json.loads(text(job, "jsonl"))["classifications"]) == 3


def test_a_score_of_nought_is_a_score(deployment):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    detection = given.detection(task.task.key)
    detection["classifications"][0]["scores"] = [0]
    result = given.output(task.task.key, 0) | {"detections": [detection]}
    posted(deployment, job, [{"reply_subject": task.token, "result": result}])
    assert json.loads(text(job, "coco"))["annotations"][0]["score"] == 0
    (row,) = csv.DictReader(io.StringIO(text(job, "csv")))
    assert float(row["score"]) == 0


def test_text_that_a_spreadsheet_would_take_for_a_formula_is_still_the_text(deployment):
    job = dispatched(deployment, 1)
    (task,) = claimed(deployment, job)
    result = given.output(task.task.key, 0) | {"detections": [given.detection(task.task.key, "=1+1")]}
    posted(deployment, job, [{"reply_subject": task.token, "result": result}])
    (row,) = csv.DictReader(io.StringIO(text(job, "csv")))
    assert row["label"] == "=1+1"


@pytest.mark.parametrize("export_format", ["xls", "", None, ["csv"]])
def test_an_unknown_format_is_refused_and_the_known_ones_are_named(job, export_format):
    with pytest.raises(BadInputError, match="csv, jsonl, coco"):
        export(job.id, export_format)


@pytest.mark.parametrize("export_format", ["csv", "jsonl", "coco"])
def test_an_export_job_writes_the_same_as_a_file(deployment, job, export_format):
    config = {"job_id": job.id, "format": export_format}
    exporting = submit(deployment, JobRequest(job.project_id, "export_results", config=config))
    run_job(deployment, exporting.ref)
    assert jobs.get(exporting.id).status == "SUCCESS"
    written = deployment.settings.data_dir / "exports" / f"job-{job.id}.{export_format}"
    assert written.read_text(encoding="utf-8") == text(job, export_format)
    assert [path.name for path in written.parent.iterdir() if "part" in path.name] == []
