"""Saving what pipelines found, with the same few statements whatever the size of the batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from headcount import quick_json
from headcount.ports.job_kind import SavedResult
from headcount.statements import Statements, TimestampWriter, timestamp_writer
from headcount_worker.wire import Detection, TaskOutput

_SQL = Statements("headcount_images.sql")


@dataclass(frozen=True, slots=True)
class Found:
    """What one task found, as the JSON of its rows: made before the transaction, in which others wait for their turn.

    Each row lacks its beginning, ``[``: the ids of task and image, which are known when it is saved, come first.
    """

    detections: Sequence[str]
    classifications: Sequence[str]


def found(output: TaskOutput) -> Found:
    """Return the rows of what was found in one task."""
    write = timestamp_writer()
    detections = (_detection_row(*item, write) for item in enumerate(output.detections))
    classifications = (row for item in enumerate(output.detections) for row in _classification_rows(*item, write))
    return Found([_without_beginning(row) for row in detections], [_without_beginning(row) for row in classifications])


def save(job_id: int, results: Sequence[SavedResult]) -> None:
    """Save the detections of tasks, and their classifications, in the caller's transaction.

    Raises:
        IntegrityError: a result contradicts a constraint; nothing of the batch is saved.
    """
    detections = ",".join(
        f"[{saved.task_id},{int(saved.key)},{row}" for saved in results for row in saved.result.detections
    )
    classifications = ",".join(f"[{saved.task_id},{row}" for saved in results for row in saved.result.classifications)
    rows = {"detections": f"[{detections}]", "classifications": f"[{classifications}]"}
    _SQL.run("save_results", {"job_id": job_id, **rows})


def counted_and_summed(job_id: int) -> tuple[int, int]:
    """Return how many detections a job has, counted one by one and summed up from its batches, at one moment."""
    [(counted, summed)] = _SQL.rows("detections_of_job", {"job_id": job_id})
    return int(counted), int(summed)


def _without_beginning(row: list[Any]) -> str:
    return quick_json.write(row).decode()[1:]


def _detection_row(position: int, detection: Detection, write: TimestampWriter) -> list[Any]:
    box = detection.bbox
    return [position, box.x1, box.y1, box.x2, box.y2, detection.algorithm.key, write(detection.timestamp)]


def _classification_rows(detection_position: int, detection: Detection, write: TimestampWriter) -> Iterator[list[Any]]:
    for position, item in enumerate(detection.classifications):
        said = (item.classification, item.scores, item.algorithm.key, item.terminal, write(item.timestamp))
        yield [detection_position, position, *said]
