"""Work: what pull workers call."""

import time
from collections.abc import Sequence
from threading import BoundedSemaphore, Event
from typing import Any

from django.http import HttpResponse
from ninja import Router

from headcount import quick_json
from headcount.api import schemas
from headcount.api.addresses import base_url
from headcount.api.authentication import CallerRequest, needs, same_project
from headcount.api.precedence import Precedence
from headcount.domain.records import JobRecord, LeaseAnswer
from headcount.domain.states import AnswerStatus, Scope
from headcount.errors import TooLargeError
from headcount.flow.claim import ClaimedTask, Claimer, claim, claim_any, note_worker
from headcount.flow.leases import extend, release
from headcount.flow.receive import receive
from headcount.store import jobs, registry
from headcount.wiring import deployment

router = Router(tags=["work"])

WAITING_PLACES = 8
"""Claims that may wait in this process at once; a thread waits for each, and the others must have threads left."""

_LOOK_EVERY_SECONDS = 0.25
_LOOK_AT_MOST_EVERY_SECONDS = 0.05
"""News may come thick and fast, of jobs that need other workers."""

_waiting_places = BoundedSemaphore(WAITING_PLACES)
_stopping = Event()
_precedence = Precedence()


def end_waiting() -> None:
    """Have every waiting claim answer with its next look, because this process stops."""
    _stopping.set()


@router.post(
    "/projects/{int:project_id}/pipelines", response=schemas.PipelinesOut, auth=needs(Scope.WORK), summary="Register"
)
def register_pipelines(request: CallerRequest, project_id: int, body: schemas.PipelinesIn) -> dict[str, Any]:
    """Offer pipelines; jobs can be submitted for them from now on."""
    same_project(request.auth, project_id)
    offers = [
        registry.PipelineOffer(item.slug, item.name, str(item.version), [a.dict() for a in item.algorithms])
        for item in body.pipelines
    ]
    registry.register(project_id, body.processing_service_name, offers, deployment().clock())
    return {"pipelines": [offer.slug for offer in offers]}


@router.get(
    "/projects/{int:project_id}/pipelines",
    response=schemas.PipelinesOut,
    auth=needs(Scope.WORK, Scope.READ, Scope.SUBMIT),
    summary="List pipelines",
)
def list_pipelines(request: CallerRequest, project_id: int) -> dict[str, Any]:
    """Return the slugs of the pipelines that services offer in a project."""
    same_project(request.auth, project_id)
    return {"pipelines": registry.offered(project_id)}


@router.post("/tasks/claim", response=schemas.TasksOut, auth=needs(Scope.WORK), summary="Claim tasks of any job")
def claim_tasks(request: CallerRequest, body: schemas.ClaimAnyIn) -> HttpResponse:
    """Take a batch of tasks of whichever job needs the worker's pipelines, waiting for one if need be."""
    claimer = Claimer(request.auth.project_id, body.worker or request.auth.token_name, tuple(body.pipelines))
    heard = deployment().queue.listen().count
    claimed = _claim_any(claimer, body.batch_size)
    if claimed is None and body.wait_seconds:
        claimed = _wait_for_tasks(claimer, body, heard)
    job, tasks = claimed or (None, [])
    return _tasks_out(request, job, tasks)


@router.post(
    "/jobs/{int:job_id}/tasks", response=schemas.TasksOut, auth=needs(Scope.WORK), summary="Claim tasks of one job"
)
def claim_tasks_of_job(request: CallerRequest, job_id: int, body: schemas.ClaimIn) -> HttpResponse:
    """Take a batch of one job's tasks; an empty list when none is ready."""
    with _precedence.claiming():
        job = jobs.get(job_id, request.auth.project_id)
        pipelines = (job.pipeline,) if job.pipeline else ()
        claimer = Claimer(job.project_id, body.worker or request.auth.token_name, pipelines)
        note_worker(deployment(), claimer)
        tasks = claim(deployment(), job, body.batch_size, claimer)
    return _tasks_out(request, job, tasks)


@router.post("/jobs/{int:job_id}/result", response=schemas.ResultsOut, auth=needs(Scope.WORK), summary="Post results")
def post_results(request: CallerRequest, job_id: int, body: schemas.ResultsIn) -> HttpResponse:
    """Account a batch of results; what is answered ``saved`` is durable."""
    _limit(body.results)
    with _precedence.saving():
        answers = receive(deployment(), job_id, request.auth.project_id, body.results)
    return _hot(
        {
            "status": "accepted",
            "job_id": job_id,
            "results_queued": sum(answer.status is AnswerStatus.SAVED for answer in answers),
            "tasks": [
                {
                    "reply_subject": answer.reply_subject,
                    "status": answer.status,
                    "task_id": answer.task_key,
                    "reason": answer.reason,
                }
                for answer in answers
            ],
        }
    )


@router.post("/tasks/extend", response=schemas.LeasesOut, auth=needs(Scope.WORK), summary="Extend leases")
def extend_leases(request: CallerRequest, body: schemas.LeasesIn) -> dict[str, Any]:
    """Let leases last another full term from now; says which are no longer the worker's."""
    _limit(body.leases)
    return _leases_out(extend(deployment(), request.auth.project_id, body.leases))


@router.post("/tasks/release", response=schemas.LeasesOut, auth=needs(Scope.WORK), summary="Release leases")
def release_leases(request: CallerRequest, body: schemas.LeasesIn) -> dict[str, Any]:
    """Give tasks back, to be handed out again at once."""
    _limit(body.leases)
    return _leases_out(release(deployment(), request.auth.project_id, body.leases))


def _claim_any(claimer: Claimer, limit: int) -> tuple[JobRecord, list[ClaimedTask]] | None:
    with _precedence.claiming():
        return claim_any(deployment(), claimer, limit)


def _wait_for_tasks(
    claimer: Claimer, body: schemas.ClaimAnyIn, heard: int
) -> tuple[JobRecord, list[ClaimedTask]] | None:
    """Look again until there is something or the time is over; where all places are taken, wait for one look only."""
    seconds = min(body.wait_seconds, deployment().settings.max_wait_seconds)
    if not _waiting_places.acquire(blocking=False):
        is_stopping = _stopping.wait(min(seconds, _LOOK_EVERY_SECONDS))
        return None if is_stopping else _claim_any(claimer, body.batch_size)
    try:
        return _look_again(claimer, body.batch_size, heard, time.monotonic() + seconds)
    finally:
        _waiting_places.release()


def _look_again(
    claimer: Claimer, limit: int, heard: int, deadline: float
) -> tuple[JobRecord, list[ClaimedTask]] | None:
    """Look with every news of tasks beyond the ``heard`` first, and now and then, up to the deadline."""
    news = deployment().queue.listen()
    while (left := deadline - time.monotonic()) > 0:
        next_look = time.monotonic() + _LOOK_AT_MOST_EVERY_SECONDS
        news.wait(heard, min(left, _LOOK_EVERY_SECONDS))
        if _stopping.wait(min(left, next_look - time.monotonic())):
            return None
        heard = news.count
        claimed = _claim_any(claimer, limit)
        if claimed is not None:
            return claimed
    return None


def _tasks_out(request: CallerRequest, job: JobRecord | None, tasks: Sequence[ClaimedTask]) -> HttpResponse:
    shown = []
    if job is not None:
        kind, address = deployment().kind(job.kind), base_url(request)
        shown = [{**kind.present(job, item.task, address), "reply_subject": item.token} for item in tasks]
    return _hot(
        {
            "job_id": job.id if job else None,
            "pipeline": job.pipeline if job else None,
            "tasks": shown,
            "ack_wait_seconds": deployment().settings.ack_wait.total_seconds(),
        }
    )


def _hot(answer: dict[str, Any]) -> HttpResponse:
    """Answer without validating our own words: for a batch of fifty that takes a tenth of the request's time.

    The tests hold these answers against the published schema.
    """
    return HttpResponse(quick_json.write(answer), content_type="application/json")


def _leases_out(answers: Sequence[LeaseAnswer]) -> dict[str, Any]:
    return {
        "leases": [
            {"reply_subject": answer.reply_subject, "status": answer.status, "reason": answer.reason}
            for answer in answers
        ]
    }


def _limit(items: Sequence[Any]) -> None:
    most = deployment().settings.max_batch
    if len(items) > most:
        raise TooLargeError(f"{len(items)} in one request are too many; send at most {most}")
