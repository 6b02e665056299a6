"""Saving what pipelines found, with the same few statements whatever the size of the batch."""

from collections.abc import Iterator, Sequence
from typing import Any

from headcount.ports.job_kind import SavedResult
from headcount.statements import Statements, TimestampWriter, as_json, timestamp_writer
from headcount_worker.wire import Detection

_SQL = Statements("headcount_images.sql")


def save(job_id: int, results: Sequence[SavedResult]) -> None:
    """Save the detections of tasks, and their classifications, in the caller's transaction.

    Raises:
        IntegrityError: a result contradicts a constraint; nothing of the batch is saved.
    """
    detections: list[list[Any]] = []
    classifications: list[list[Any]] = []
    write_timestamp = timestamp_writer()
    for saved in results:
        for position, detection in enumerate(saved.result.detections):
            detections.append(_detection_row(saved, position, detection, write_timestamp))
            classifications += _classification_rows(saved.task_id, position, detection, write_timestamp)
    if detections:
        parameters = {"job_id": job_id, "detections": as_json(detections), "classifications": as_json(classifications)}
        _SQL.run("save_results", parameters)


def _detection_row(saved: SavedResult, position: int, detection: Detection, write: TimestampWriter) -> list[Any]:
    box = detection.bbox
    corners = (box.x1, box.y1, box.x2, box.y2)
    seen_at = write(detection.timestamp)
    return [saved.task_id, int(saved.key), position, *corners, detection.algorithm.key, seen_at]


def _classification_rows(
    task_id: int, detection_position: int, detection: Detection, write: TimestampWriter
) -> Iterator[list[Any]]:
    for position, item in enumerate(detection.classifications):
        said = (item.classification, item.scores, item.algorithm.key, item.terminal, write(item.timestamp))
        yield [task_id, detection_position, position, *said]
