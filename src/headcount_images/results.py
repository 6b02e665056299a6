"""Saving what pipelines found, with the same few statements whatever the size of the batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headcount import quick_json
from headcount.ports.job_kind import SavedResult
from headcount.statements import Statements, TimestampWriter, timestamp_writer
from headcount_images import quick_results
from headcount_images.quick_results import Output
from headcount_worker.wire import Classification, Detection, TaskOutput

_SQL = Statements("headcount_images.sql")
_AnyDetection = Detection | quick_results.Detection
_AnyClassification = Classification | quick_results.Classification


@dataclass(frozen=True, slots=True)
class Found:
    """What one task found, as JSON of its rows: made before the transaction, in which others wait for their turn.

    Each is a list of rows that lack only the ids of the task and of the image, which are known when they are saved.
    """

    detections: str
    classifications: str


def found(output: TaskOutput | Output) -> Found:
    """Return the rows of what was found in one task."""
    write = timestamp_writer()
    found_there: Sequence[_AnyDetection] = output.detections
    detections = [_detection_row(detection, write) for detection in found_there]
    classifications = [row for item in enumerate(found_there) for row in _classification_rows(*item, write)]
    return Found(quick_json.write(detections).decode(), quick_json.write(classifications).decode())


def save(job_id: int, results: Sequence[SavedResult]) -> None:
    """Save the detections of tasks, and their classifications, in the caller's transaction.

    Raises:
        IntegrityError: a result contradicts a constraint; nothing of the batch is saved.
    """
    detections = ",".join(f"[{saved.task_id},{int(saved.key)},{saved.result.detections}]" for saved in results)
    classifications = ",".join(f"[{saved.task_id},{saved.result.classifications}]" for saved in results)
    rows = {"detections": f"[{detections}]", "classifications": f"[{classifications}]"}
    _SQL.run("save_results", {"job_id": job_id, **rows})


def counted_and_summed(job_id: int) -> tuple[int, int]:
    """Return how many detections a job has, counted one by one and summed up from its batches, at one moment."""
    [(counted, summed)] = _SQL.rows("detections_of_job", {"job_id": job_id})
    return int(counted), int(summed)


def _detection_row(detection: _AnyDetection, write: TimestampWriter) -> list[Any]:
    box = detection.bbox
    return [box.x1, box.y1, box.x2, box.y2, detection.algorithm.key, _written(detection.timestamp, write)]


def _classification_rows(
    detection_position: int, detection: _AnyDetection, write: TimestampWriter
) -> Iterator[list[Any]]:
    labels: Sequence[_AnyClassification] = detection.classifications
    for position, item in enumerate(labels):
        said = (item.classification, item.scores, item.algorithm.key, item.terminal)
        yield [detection_position, position, *said, _written(item.timestamp, write)]


def _written(time: datetime | str | None, write: TimestampWriter) -> str | None:
    return write(quick_results.moment(time) if isinstance(time, str) else time)
