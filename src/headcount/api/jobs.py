"""Jobs: submit, list, look at, cancel, retry, audit, export."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.db.models import Q
from django.http import StreamingHttpResponse
from ninja import Query, Router, Schema

from headcount.api import schemas
from headcount.api.authentication import CallerRequest, needs
from headcount.api.documented import problem_answer
from headcount.domain.records import JobRecord
from headcount.domain.states import FINAL_STATES, DispatchMode, Redo, Scope, TaskState
from headcount.errors import BadInputError
from headcount.flow.cancel import cancel
from headcount.flow.retry import retry
from headcount.flow.submit import JobRequest, submit
from headcount.health.audit import audit
from headcount.health.describe import describe
from headcount.health.diagnose import as_document, diagnose
from headcount.store import events, jobs, ledger
from headcount.wiring import deployment

router = Router(tags=["jobs"])
_MOST_JOBS = 500
_MOST_TASKS = 1000
_CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl", "coco": "application/json"}
_AS_TEXT: dict[str, dict[str, Any]] = {
    content_type.partition(";")[0]: {"schema": {}} for content_type in _CONTENT_TYPES.values()
}


class JobFilters(Schema):
    """Which jobs to list."""

    pipeline__slug__in: str | None = None
    dispatch_mode: DispatchMode | None = None
    incomplete_only: bool = False
    ids_only: bool = False
    limit: int = 100


@router.get("/jobs", response=schemas.JobsOut, auth=needs(Scope.READ, Scope.WORK), summary="List jobs")
def list_jobs(request: CallerRequest, filters: Query[JobFilters]) -> dict[str, Any]:
    """Return the project's jobs, those of the highest id first unless only incomplete ones are asked for."""
    found = jobs.find(
        _condition(request.auth.project_id, filters),
        limit=max(1, min(filters.limit, _MOST_JOBS)),
        newest_first=not filters.incomplete_only,
    )
    return {"results": [_short(job) if filters.ids_only else _listed(job) for job in found]}


@router.post("/jobs", response={201: schemas.JobOut}, auth=needs(Scope.SUBMIT), summary="Submit a job")
def submit_job(request: CallerRequest, body: schemas.JobIn) -> dict[str, Any]:
    """Make a job and have it dispatched."""
    job_request = JobRequest(project_id=request.auth.project_id, **body.dict())
    return describe(deployment(), submit(deployment(), job_request))


@router.get("/jobs/{int:job_id}", response=schemas.JobOut, auth=needs(Scope.READ), summary="Look at a job")
def show_job(request: CallerRequest, job_id: int) -> dict[str, Any]:
    """Return a job with its stages, what it saved, and its certificates."""
    return describe(deployment(), jobs.get(job_id, request.auth.project_id))


@router.post(
    "/jobs/{int:job_id}/cancel",
    response=schemas.JobOut,
    auth=needs(Scope.SUBMIT),
    summary="Cancel a job",
    openapi_extra={"responses": {int(HTTPStatus.CONFLICT): problem_answer(HTTPStatus.CONFLICT)}},
)
def cancel_job(request: CallerRequest, job_id: int) -> dict[str, Any]:
    """Stop a job; what is saved already stays."""
    return describe(deployment(), cancel(deployment(), job_id, request.auth.project_id))


@router.post(
    "/jobs/{int:job_id}/retry",
    response=schemas.JobOut,
    auth=needs(Scope.SUBMIT),
    summary="Retry a job",
    openapi_extra={"responses": {int(HTTPStatus.CONFLICT): problem_answer(HTTPStatus.CONFLICT)}},
)
def retry_job(request: CallerRequest, job_id: int, body: schemas.RetryIn | None = None) -> dict[str, Any]:
    """Start the next run of a job that has ended, with the tasks that are not done; earlier verdicts stay."""
    only = body.only if body is not None else Redo.FAILED
    return describe(deployment(), retry(deployment(), job_id, only, request.auth.project_id))


@router.get("/jobs/{int:job_id}/events", response=schemas.EventsOut, auth=needs(Scope.READ), summary="A job's log")
def list_events(request: CallerRequest, job_id: int, after: int = 0) -> dict[str, Any]:
    """Return the lines of a job's log with an id above ``after``, at most a thousand."""
    jobs.get(job_id, request.auth.project_id)
    return {"results": [_event(row) for row in events.of(job_id, after)]}


@router.get(
    "/jobs/{int:job_id}/ledger", response=schemas.LedgerRowsOut, auth=needs(Scope.READ), summary="A job's ledger"
)
def list_ledger(
    request: CallerRequest, job_id: int, state: TaskState | None = None, after: int = -1, limit: int = 100
) -> dict[str, Any]:
    """Return a job's tasks as the ledger has them, with the reason of each failure."""
    jobs.get(job_id, request.auth.project_id)
    size = max(1, min(limit, _MOST_TASKS))
    rows = ledger.page(job_id, state, after, size)
    shown = [
        {"ordinal": row.ordinal, "id": row.key, "state": row.state, "attempts": row.attempt, "error": row.error}
        for row in rows
    ]
    return {"results": shown, "next_after": rows[-1].ordinal if len(rows) == size else None}


@router.get("/jobs/{int:job_id}/audit", response=schemas.AuditOut, auth=needs(Scope.READ), summary="Audit a job")
def audit_job(request: CallerRequest, job_id: int) -> dict[str, Any]:
    """Prove from the rows themselves that every task is accounted for, or name the offenders."""
    jobs.get(job_id, request.auth.project_id)
    outcome = audit(deployment(), job_id)
    return {"job_id": job_id, "clean": outcome.clean, "line": outcome.line, "offences": list(outcome.offences)}


@router.get(
    "/jobs/{int:job_id}/diagnosis", response=schemas.DiagnosisOut, auth=needs(Scope.READ), summary="Diagnose a job"
)
def diagnose_job(request: CallerRequest, job_id: int) -> dict[str, Any]:
    """Ask every witness of a job, and say why it stands where it stands, what happens next, and when."""
    jobs.get(job_id, request.auth.project_id)
    return as_document(diagnose(deployment(), job_id))


@router.get(
    "/jobs/{int:job_id}/export",
    auth=needs(Scope.READ),
    summary="A job's results as a file",
    openapi_extra={"responses": {int(HTTPStatus.OK): {"description": "OK", "content": _AS_TEXT}}},
)
def export_job(request: CallerRequest, job_id: int, format: str = "csv") -> StreamingHttpResponse:  # noqa: A002
    """Stream what a job saved."""
    job = jobs.get(job_id, request.auth.project_id)
    return StreamingHttpResponse(_exported(job, format), content_type=_CONTENT_TYPES.get(format, "text/plain"))


def _exported(job: JobRecord, export_format: str) -> Iterator[str]:
    kind = deployment().kind(job.kind)
    if export_format not in kind.export_formats:
        offered = ", ".join(kind.export_formats) or "none"
        raise BadInputError(f"a {kind.name} job has no export format {export_format!r}; it has {offered}")
    return kind.export(job.id, export_format)


def _condition(project_id: int, filters: JobFilters) -> Q:
    condition = Q(project_id=project_id)
    if filters.pipeline__slug__in is not None:
        condition &= Q(pipeline__slug__in=filters.pipeline__slug__in.split(","))
    if filters.dispatch_mode is not None:
        condition &= Q(dispatch_mode=filters.dispatch_mode)
    if filters.incomplete_only:
        condition &= ~Q(status__in=FINAL_STATES)
    return condition


def _short(job: JobRecord) -> dict[str, Any]:
    return {"id": job.id, "pipeline_slug": job.pipeline}


def _listed(job: JobRecord) -> dict[str, Any]:
    return {
        **_short(job),
        "name": job.name,
        "kind": job.kind,
        "dispatch_mode": job.dispatch_mode,
        "status": job.status,
        "task_total": job.task_total,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
    }


def _event(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in schemas.EventOut.model_fields}
