"""The three formats tell the same story as the rows, and are whole or not there."""

import csv
import io
import json
import sys

import pytest

from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.store import jobs
from headcount_images import exports
from headcount_images.models import Detection
from tests.flow import given
from tests.flow.given import claimed, dispatched, posted

pytestmark = pytest.mark.django_db
AWKWARD = ["moth", "comma, moth", 'quote " moth', "two\nlines", "a\rreturn", "\r\n", " spaces ", "'", "蛾", "\u2028"]


def text(job, export_format):
    return "".join(exports.export(job.id, export_format))


def done_with(deployment, *results):
    """A job whose n-th image brought the n-th list of detections."""
    job = dispatched(deployment, len(results))
    for task, detections in zip(claimed(deployment, job), results, strict=True):
        found = [given.detection(task.task.key, **changes) for changes in detections]
        result = given.output(task.task.key, 0) | {"detections": found}
        assert posted(deployment, job, [{"reply_subject": task.token, "result": result}]) == ["saved"]
    return job


def labelled(label, score=0.5):
    return {
        "classification": label,
        "scores": [score, score / 2],
        "algorithm": {"name": "Namer", "key": "namer"},
        "terminal": True,
    }


def seen(label, x=0.0):
    return {"bbox": {"x1": x, "y1": 1.25, "x2": x + 7.5, "y2": 3}, "classifications": [labelled(label)]}


@pytest.fixture
def job(deployment):
    """Images with all, none and one of the awkward labels."""
    return done_with(deployment, [seen(label, n) for n, label in enumerate(AWKWARD)], [], [seen("moth", 99)])


def rows_of_csv(job):
    reader = csv.DictReader(io.StringIO(text(job, "csv"), newline=""), strict=True)
    return [
        (
            int(row["image_id"]),
            *(float(row[side]) for side in ("x1", "y1", "x2", "y2")),
            row["label"],
            float(row["score"]),
        )
        for row in reader
    ]


def rows_of_json_lines(job):
    lines = [json.loads(line) for line in text(job, "jsonl").split("\n")[:-1]]
    named = [(line, line["classifications"][0]) for line in lines]
    return [(line["image_id"], *line["bbox"], best["label"], max(best["scores"])) for line, best in named]


def rows_of_coco(job):
    coco = json.loads(text(job, "coco"))
    labels = {category["id"]: category["name"] for category in coco["categories"]}
    return [
        (note["image_id"], x, y, x + width, y + height, labels[note["category_id"]], note["score"])
        for note in coco["annotations"]
        for x, y, width, height in [note["bbox"]]
    ]


def saved_rows(job):
    found = Detection.objects.filter(job_id=job.id).order_by("image_id", "position")
    return [(row.image_id, row.x1, row.y1, row.x2, row.y2, row.classifications.get().label, 0.5) for row in found]


def test_every_format_agrees_with_the_rows(job):
    saved = saved_rows(job)
    assert len(saved) == len(AWKWARD) + 1
    assert rows_of_csv(job) == saved
    assert rows_of_json_lines(job) == saved
    assert rows_of_coco(job) == saved


def test_csv_has_one_line_for_each_row_but_for_line_breaks_in_labels(deployment):
    job = done_with(deployment, [seen("moth"), seen("fly")])
    assert text(job, "csv").count("\n") == 3
    assert "\r" not in text(job, "csv")


def test_coco_lists_the_images_without_detections_and_each_image_once(job):
    images = [image["id"] for image in json.loads(text(job, "coco"))["images"]]
    assert len(images) == len(set(images)) == 3
    annotated = {row[0] for row in rows_of_coco(job)}
    assert len(annotated) == 2
    assert annotated < set(images)


def test_coco_names_each_category_once(job):
    names = [category["name"] for category in json.loads(text(job, "coco"))["categories"]]
    assert sorted(names) == sorted(AWKWARD)


def test_the_classifications_of_a_detection_keep_their_order(deployment):
    labels = [f"label {n}" for n in (3, 1, 4, 15, 9, 2, 6)]
    detections = [{"classifications": [labelled(label) for label in labels]}] * 20
    job = done_with(deployment, detections)
    for line in text(job, "jsonl").splitlines():
        assert [item["label"] for item in json.loads(line)["classifications"]] == labels


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("export_format", ["coco", "jsonl"])
def test_the_largest_box_that_is_saved_is_exported_as_json(deployment, export_format):
    largest = {"x1": 0, "y1": 0, "x2": sys.float_info.max, "y2": sys.float_info.max}
    job = done_with(deployment, [{"bbox": largest}])
    exported = text(job, export_format)
    assert str(sys.float_info.max) in exported
    for line in exported.splitlines():
        json.loads(line, parse_constant=refuse)


def test_the_export_of_one_job_holds_nothing_of_another(deployment, project_id):
    first = dispatched(deployment, 1, project_id)
    second = dispatched(deployment, 1, project_id)
    for job, label in ((first, "moth"), (second, "fly")):
        (task,) = claimed(deployment, job)
        result = given.output(task.task.key, 0) | {"detections": [given.detection(task.task.key, label)]}
        posted(deployment, job, [{"reply_subject": task.token, "result": result}])
    for export_format in exports.FORMATS:
        assert "moth" in text(first, export_format)
        assert "fly" not in text(first, export_format)


@pytest.fixture
def broken_off(monkeypatch):
    """An export that breaks off behind its first part."""

    def parts(job_id):
        yield "the first part\n"
        raise ValueError("the rows went away")

    monkeypatch.setitem(exports.FORMATS, "csv", parts)


def test_an_export_job_that_breaks_off_leaves_the_old_file_and_no_part_of_the_new(deployment, job, broken_off):
    folder = deployment.settings.data_dir / "exports"
    folder.mkdir(exist_ok=True)
    (folder / f"job-{job.id}.csv").write_text("the old file")
    config = {"job_id": job.id, "format": "csv"}
    exporting = submit(deployment, JobRequest(job.project_id, "export_results", config=config))
    run_job(deployment, exporting.ref)
    assert jobs.get(exporting.id).status == "FAILURE"
    assert (folder / f"job-{job.id}.csv").read_text() == "the old file"
    assert [path.name for path in folder.iterdir() if ".part" in path.name] == []
