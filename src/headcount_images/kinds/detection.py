"""The ``ml`` kind: remote workers run a pipeline over the images of a collection."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import Sum
from pydantic import ValidationError

from headcount.domain.records import JobRecord, LeasedTask, TaskSpec
from headcount.domain.states import DispatchMode, TaskState
from headcount.errors import BadInputError
from headcount.ports.job_kind import JobKind, ParsedResult, SavedResult
from headcount_images import exports, pushed, quick_results, results
from headcount_images.links import picture_url
from headcount_images.models import Collection, Detection, Image, SavedBatch
from headcount_worker.wire import TaskError, TaskOutput

_PAGE = 2000


class DetectionKind(JobKind):
    """Collects a task for each image of a collection and saves detections with their classifications.

    Configuration: ``{"collection": name}``. The images are those in the collection at the time of submission.
    """

    name: ClassVar[str] = "ml"
    dispatch_modes: ClassVar[frozenset[DispatchMode]] = frozenset({DispatchMode.ASYNC_API, DispatchMode.SYNC_API})
    export_formats: ClassVar[tuple[str, ...]] = tuple(exports.FORMATS)

    def check(self, project_id: int, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Resolve the collection's name and note which of its images are in."""
        collection = _collection(project_id, config.get("collection"))
        last = Image.objects.filter(collection=collection).order_by("-id").values_list("id", flat=True).first()
        return {**config, "collection": collection.name, "collection_id": collection.pk, "last_image_id": last or 0}

    def collect(self, job: JobRecord) -> Iterable[TaskSpec]:
        """Yield a task for each image, keyed by the image's id.

        Each page is read whole: SQLite refuses to write on a connection that holds a query open while others write.
        """
        chosen = Image.objects.filter(collection_id=job.config["collection_id"], pk__lte=job.config["last_image_id"])
        images = chosen.order_by("id").values_list("pk", "name", "width", "height")
        last = 0
        while page := list(images.filter(pk__gt=last)[:_PAGE]):
            for last, name, width, height in page:
                yield TaskSpec(str(last), {"name": name, "width": width, "height": height})

    def present(self, job: JobRecord, task: LeasedTask, base_url: str) -> dict[str, Any]:
        """Show a worker the image's id and where to fetch it."""
        return {
            "id": task.key,
            "image_id": task.key,
            "image_url": picture_url(base_url, task.key),
            "payload": dict(task.payload),
        }

    def present_batch(self, job: JobRecord, tasks: Sequence[LeasedTask], base_url: str) -> dict[str, Any]:
        """Show a push service the pipeline's slug and the images."""
        images = [{"id": task.key, "url": picture_url(base_url, task.key)} for task in tasks]
        return {"pipeline": job.pipeline, "source_images": images}

    def split_answer(self, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give each image its own detections, or its error; an image that the answer does not name is left out."""
        return pushed.split(answer)

    def parse(self, raw: Mapping[str, Any]) -> ParsedResult:
        """Understand a pipeline's output or a worker's error."""
        try:
            if "error" in raw:
                reported = TaskError.model_validate(raw)
                return ParsedResult(error=reported.error, named_key=reported.image_id)
            output = quick_results.read(raw) or TaskOutput.model_validate(raw)
        except ValidationError as error:
            raise BadInputError(_first_complaint(error)) from error
        return ParsedResult(result=results.found(output), named_key=_named_image(output))

    def save(self, job: JobRecord, results_to_save: Sequence[SavedResult]) -> None:
        """Save detections and classifications, in one statement each."""
        results.save(job.id, results_to_save)

    def named_counts(self, job_id: int) -> dict[str, int]:
        """Sum up the job's detections."""
        return {"detections": SavedBatch.objects.filter(job_id=job_id).aggregate(sum=Sum("detections"))["sum"] or 0}

    def offences(self, job_id: int, limit: int) -> Iterator[str]:
        """Name detections of tasks that are not saved, and a sum that the rows contradict."""
        found = Detection.objects.filter(job_id=job_id)
        for stray in found.exclude(task__state=TaskState.SAVED, task__job_id=job_id)[:limit]:
            yield f"saved without standing in the ledger as saved: detection {stray.pk} of task {stray.task_id}"
        there, said = results.counted_and_summed(job_id)
        if there != said:
            yield f"the job is said to have {said} detections but there are {there}"

    def export(self, job_id: int, export_format: str) -> Iterator[str]:
        """Yield the job's detections as CSV, JSON Lines or COCO JSON."""
        return exports.export(job_id, export_format)


def _collection(project_id: int, name: Any) -> Collection:
    if not name:
        raise BadInputError('an ml job needs the name of a collection: {"collection": "..."}')
    collection = Collection.objects.filter(project_id=project_id, name=str(name)).first()
    if collection is None:
        known = ", ".join(Collection.objects.filter(project_id=project_id).values_list("name", flat=True)[:20])
        raise BadInputError(f"there is no collection {name!r} in this project; there are: {known or 'none yet'}")
    return collection


def _named_image(output: TaskOutput | quick_results.Output) -> str | None:
    named = {*[image.id for image in output.source_images], *[found.source_image_id for found in output.detections]}
    if len(named) > 1:
        raise BadInputError(f"the result of one task names several images: {', '.join(sorted(named)[:5])}")
    return next(iter(named), None)


def _first_complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    what = "must not contain NUL characters" if first["type"] == "string_pattern_mismatch" else first["msg"]
    return f"{'.'.join(map(str, first['loc'])) or 'result'}: {what}"
