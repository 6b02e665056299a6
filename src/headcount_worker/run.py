"""Run a pipeline over images and turn whatever happens into results that can be posted."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from headcount_worker.clock import SYSTEM_CLOCK, Clock
from headcount_worker.detection import DetectionLike, as_wire
from headcount_worker.errors import PipelineError, WorkerError
from headcount_worker.image import Image
from headcount_worker.pipeline import Pipeline
from headcount_worker.wire import SourceImage, TaskError, TaskOutput

log = structlog.get_logger("headcount_worker")


@dataclass(frozen=True)
class PostedOutcome:
    """What came of one image: a ``TaskOutput``, or the ``TaskError`` that says why there is none."""

    image_id: str
    result: TaskOutput | TaskError


def run_pipeline(pipeline: Pipeline, images: Sequence[Image], clock: Clock = SYSTEM_CLOCK) -> list[PostedOutcome]:
    """Run the pipeline over the images and give one outcome for each, in their order. Never raises for the pipeline.

    When a batch fails as a whole, each of its images is tried by itself, so that one bad image does not take the
    others down.
    """
    try:
        return _successes(pipeline, images, clock)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the pipeline is somebody else's code
        if len(images) > 1:
            log.warning("batch failed, trying each image by itself", pipeline=pipeline.slug, reason=reason_of(error))
            return [outcome for image in images for outcome in run_pipeline(pipeline, [image], clock)]
        return [_failure(pipeline, image, error) for image in images]


def _successes(pipeline: Pipeline, images: Sequence[Image], clock: Clock) -> list[PostedOutcome]:
    started = clock.monotonic()
    found = pipeline.look_at(images)
    if len(found) != len(images):
        raise PipelineError(f"the pipeline gave {len(found)} lists of detections for {len(images)} images")
    seconds = max(0.0, clock.monotonic() - started) / max(1, len(images))
    return [
        PostedOutcome(image.id, _output(pipeline, image, detections, seconds, clock))
        for image, detections in zip(images, found, strict=True)
    ]


def _output(
    pipeline: Pipeline, image: Image, found: Sequence[DetectionLike], seconds: float, clock: Clock
) -> TaskOutput:
    moment = clock.now()
    return TaskOutput(
        pipeline=pipeline.slug,
        total_time=seconds,
        source_images=[SourceImage(id=image.id, url=image.url)],
        detections=[as_wire(one, image.id, pipeline.algorithms, moment) for one in found],
    )


def _failure(pipeline: Pipeline, image: Image, error: BaseException) -> PostedOutcome:
    log.warning("pipeline failed on an image", pipeline=pipeline.slug, image_id=image.id, exc_info=error)
    return PostedOutcome(image.id, TaskError(error=reason_of(error), image_id=image.id))


def reason_of(error: BaseException) -> str:
    """Give what the last line of the traceback says, as one line; in words where this package knows better ones."""
    if isinstance(error, ValidationError):
        return f"the pipeline gave an unusable detection: {first_complaint(error)}"
    if isinstance(error, WorkerError):
        return str(error)
    return " ".join("".join(traceback.format_exception_only(error)).split())


def first_complaint(error: ValidationError) -> str:
    """Give the first of pydantic's complaints as one short line: where, and what."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    # The wire has one pattern, the one that keeps NUL out; quoted as it stands it would help nobody.
    words = "must not contain NUL characters" if first["type"] == "string_pattern_mismatch" else first["msg"]
    return f"{place}: {words}" if place else words
