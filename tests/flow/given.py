"""What tests of the flow begin with, and the one check of how a job ended."""

from dataclasses import replace
from typing import Any

from headcount.domain.records import JobRecord, JobRef
from headcount.domain.states import DispatchMode, TaskState
from headcount.flow.claim import ClaimedTask, Claimer, claim
from headcount.flow.receive import receive
from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.health.audit import audit
from headcount.models import Certificate, JobEvent
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger, progress, registry
from headcount_images.models import Classification, Collection, Detection, Image

SLUG = "blobs"


def project(name: str = "moths") -> int:
    """A project with one pipeline on offer."""
    project_id = jobs.ensure_project(name)
    registry.register(project_id, "box", [registry.PipelineOffer(SLUG, "Blobs", "1")], now=None)
    return project_id


def collection(project_id: int, images: int, name: str = "night") -> Collection:
    """A collection of images that are rows only."""
    made = Collection.objects.create(project_id=project_id, name=name)
    Image.objects.bulk_create(
        [
            Image(collection=made, name=f"{n:05}.jpg", path=f"/night/{n:05}.jpg", width=160, height=120, size=1000)
            for n in range(images)
        ]
    )
    return made


def submitted(deployment: Deployment, tasks: int, project_id: int | None = None, **options: Any) -> JobRecord:
    """A job of kind ``ml`` over a collection of its own, submitted and not yet dispatched."""
    project_id = project_id or project()
    name = f"night-{Collection.objects.count()}"
    collection(project_id, tasks, name)
    config = {"collection": name}
    request = JobRequest(project_id, "ml", DispatchMode.ASYNC_API, pipeline=SLUG, config=config, **options)
    return submit(deployment, request)


def dispatched(deployment: Deployment, tasks: int, project_id: int | None = None, **options: Any) -> JobRecord:
    """The same, collected and published."""
    job = submitted(deployment, tasks, project_id, **options)
    run_job(deployment, job.ref)
    return jobs.get(job.id)


def claimed(deployment: Deployment, job: JobRecord, limit: int = 500, worker: str = "w1") -> list[ClaimedTask]:
    """Tasks in the hands of a worker."""
    return claim(deployment, jobs.get(job.id), limit, Claimer(job.project_id, worker, (SLUG,)))


def with_settings(deployment: Deployment, **changes: Any) -> Deployment:
    """The same deployment under other settings."""
    return replace(deployment, settings=deployment.settings.model_copy(update=changes))


def detection(image_id: str, label: str = "moth", **changes: Any) -> dict[str, Any]:
    """A box with one classification, as workers in the field send it."""
    algorithm = {"name": "Blobs", "key": "blobs"}
    classification = {
        "classification": label,
        "scores": [0.9],
        "algorithm": algorithm,
        "terminal": True,
        "timestamp": "2026-01-01T00:00:00",
    }
    return {
        "source_image_id": image_id,
        "bbox": {"x1": 0, "y1": 1, "x2": 20.5, "y2": 30},
        "algorithm": algorithm,
        "timestamp": "2026-01-01T00:00:00",
        "classifications": [classification],
    } | changes


def output(image_id: str, detections: int = 2) -> dict[str, Any]:
    """What a pipeline found in one image."""
    return {
        "pipeline": SLUG,
        "total_time": 0.1,
        "source_images": [{"id": image_id, "url": f"http://images.example/{image_id}"}],
        "detections": [detection(image_id) for _ in range(detections)],
    }


def success(task: ClaimedTask, detections: int = 2) -> dict[str, Any]:
    """A result as it is posted."""
    return {"reply_subject": task.token, "result": output(task.task.key, detections)}


def failure(task: ClaimedTask, reason: str = "out of memory") -> dict[str, Any]:
    """A worker's error as it is posted."""
    return {"reply_subject": task.token, "result": {"error": reason, "image_id": task.task.key}}


def posted(deployment: Deployment, job: JobRecord, items: list[Any]) -> list[str]:
    """Post results; returns the statuses of the answers."""
    return [str(answer.status) for answer in receive(deployment, job.id, job.project_id, items)]


def events_named(job: JobRecord, name: str) -> list[JobEvent]:
    """Lines of a job's log."""
    return list(JobEvent.objects.filter(job_id=job.id, name=name))


def assert_ended(
    deployment: Deployment,
    job: JobRecord,
    status: str,
    *,
    saved: int = 0,
    failed: int = 0,
    cancelled: int = 0,
    detections: int | None = None,
) -> None:
    """The job ended so, once, and every witness agrees on the numbers."""
    ended, counts = jobs.get(job.id), ledger.counts(job.id)
    found = detections if detections is not None else 2 * saved
    assert (ended.status, counts.saved, counts.failed, counts.cancelled) == (status, saved, failed, cancelled)
    assert ended.task_total == counts.total == saved + failed + cancelled
    assert_saved_exactly(job.ref, found)
    certificate = Certificate.objects.get(job_id=job.id)
    assert certificate.status == status
    assert (certificate.saved, certificate.failed, certificate.cancelled) == (saved, failed, cancelled)
    assert [(stage.done, stage.failed) for stage in progress.of(job.id).stages[1:]] == [(saved, failed)] * 2
    assert progress.named_counts(job.id) == {"detections": found}
    assert audit(deployment, job.id).offences == ()
    assert len(events_named(job, "job.finished")) == 1
    assert deployment.queue.depth(job.ref).pending == 0
    assert deployment.state.all_tasks_processed(job.ref) is None, "the state manager was told to forget the run"


def assert_saved_exactly(ref: JobRef, detections: int) -> None:
    """So many boxes, each of a saved task, each with its one classification."""
    found = Detection.objects.filter(job_id=ref.job_id)
    assert found.count() == detections
    assert found.filter(task__state=TaskState.SAVED).count() == detections
    assert Classification.objects.filter(detection__job_id=ref.job_id).count() == detections
