"""Exports: a job's detections as CSV, JSON Lines or COCO JSON, streamed."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from django.db.models import Prefetch

from headcount.domain.states import TaskState
from headcount.errors import BadInputError
from headcount.models import Task
from headcount_images.models import Classification, Detection, Image

_STREAM_ROWS = 2000
_CSV_LINE_END = "\r\n"
_UNCLASSIFIED = 0
_COLUMNS = (
    "image_id",
    "image",
    "x1",
    "y1",
    "x2",
    "y2",
    "label",
    "score",
    "detection_algorithm",
    "algorithm",
    "detected_at",
)


def export(job_id: int, export_format: str) -> Iterator[str]:
    """Yield a job's detections as text, image by image.

    Raises:
        BadInputError: the format is none of ``FORMATS``.
    """
    check_format(export_format)
    return FORMATS[export_format](job_id)


def check_format(export_format: object) -> None:
    """Raise BadInputError where a format is none of those offered."""
    if not isinstance(export_format, str) or export_format not in FORMATS:
        raise BadInputError(f"there is no export format {export_format!r}; there are {', '.join(FORMATS)}")


def _csv(job_id: int) -> Iterator[str]:
    yield _csv_line(_COLUMNS)
    for detection in _detections(job_id):
        row = {"image_id": detection.image_id, **_flat(detection)}
        yield _csv_line([row[column] for column in _COLUMNS])


def _csv_line(values: Sequence[Any]) -> str:
    """Python quotes the characters of its line end only: ending lines as CSV does, it quotes a carriage return too."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator=_CSV_LINE_END).writerow(values)
    return buffer.getvalue().removesuffix(_CSV_LINE_END) + "\n"


def _json_lines(job_id: int) -> Iterator[str]:
    for detection in _detections(job_id):
        classifications = [
            {"label": item.label, "scores": item.scores, "algorithm": item.algorithm, "terminal": item.terminal}
            for item in detection.classifications.all()
        ]
        line = {
            "image_id": detection.image_id,
            "image": detection.image.name,
            "bbox": [detection.x1, detection.y1, detection.x2, detection.y2],
            "algorithm": detection.algorithm,
            "detected_at": detection.detected_at.isoformat() if detection.detected_at else None,
            "classifications": classifications,
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"


def _coco(job_id: int) -> Iterator[str]:
    """COCO's object detection form: boxes are [x, y, width, height]; categories are the labels found."""
    labels = Classification.objects.filter(detection__job_id=job_id).order_by("label").values_list("label", flat=True)
    categories = {label: number for number, label in enumerate(labels.distinct(), start=1)}
    yield '{"info": {"description": ' + json.dumps(f"Headcount job {job_id}") + '}, "images": ['
    yield from _joined(_coco_image(image) for image in _images(job_id))
    yield '], "annotations": ['
    yield from _joined(_coco_annotation(detection, categories) for detection in _detections(job_id))
    if Detection.objects.filter(job_id=job_id, classifications__isnull=True).exists():
        categories[""] = _UNCLASSIFIED
    named = [{"id": number, "name": label or "unclassified"} for label, number in categories.items()]
    yield '], "categories": ' + json.dumps(named, ensure_ascii=False) + "}\n"


FORMATS: dict[str, Callable[[int], Iterator[str]]] = {"csv": _csv, "jsonl": _json_lines, "coco": _coco}


def _detections(job_id: int) -> Iterator[Detection]:
    in_order = Prefetch("classifications", Classification.objects.order_by("position"))
    found = Detection.objects.filter(job_id=job_id).select_related("image").prefetch_related(in_order)
    return found.order_by("image_id", "position").iterator(_STREAM_ROWS)


def _images(job_id: int) -> Iterator[Image]:
    """Yield every image that was processed, those without a detection too: COCO scores need them."""
    keys = Task.objects.filter(job_id=job_id, state=TaskState.SAVED).order_by("ordinal").values_list("key", flat=True)
    for portion in _batched(keys.iterator(_STREAM_ROWS), _STREAM_ROWS):
        yield from Image.objects.filter(pk__in=[int(key) for key in portion]).order_by("id")


def _batched(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield keys in lists of at most ``size``."""
    iterator = iter(keys)
    while portion := list(islice(iterator, size)):
        yield portion


def _flat(detection: Detection) -> dict[str, Any]:
    best = max(
        detection.classifications.all(), key=lambda item: (item.terminal, max(item.scores, default=0)), default=None
    )
    return {
        "image": detection.image.name,
        "x1": detection.x1,
        "y1": detection.y1,
        "x2": detection.x2,
        "y2": detection.y2,
        "label": best.label if best else "",
        "score": max(best.scores, default="") if best else "",
        "detection_algorithm": detection.algorithm,
        "algorithm": best.algorithm if best else "",
        "detected_at": detection.detected_at.isoformat() if detection.detected_at else "",
    }


def _coco_image(image: Image) -> dict[str, Any]:
    return {"id": image.pk, "file_name": image.name, "width": image.width, "height": image.height}


def _coco_annotation(detection: Detection, categories: dict[str, int]) -> dict[str, Any]:
    flat = _flat(detection)
    width, height = detection.x2 - detection.x1, detection.y2 - detection.y1
    return {
        "id": detection.pk,
        "image_id": detection.image_id,
        "category_id": categories.get(flat["label"], _UNCLASSIFIED),
        "bbox": [detection.x1, detection.y1, width, height],
        "area": min(width * height, sys.float_info.max),
        "iscrowd": 0,
        "score": None if flat["score"] == "" else flat["score"],
    }


def _joined(items: Iterator[dict[str, Any]]) -> Iterator[str]:
    for number, item in enumerate(items):
        yield (", " if number else "") + json.dumps(item, ensure_ascii=False)
