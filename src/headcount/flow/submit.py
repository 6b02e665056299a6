"""Submit: check a request and make the job, with the errand to dispatch it in the same transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headcount.domain.records import Event, JobRecord
from headcount.domain.states import DispatchMode
from headcount.errors import BadInputError
from headcount.flow.push import check_can_be_pushed
from headcount.flow.relay import relay
from headcount.ports.deployment import Deployment
from headcount.ports.job_kind import JobKind
from headcount.statements import write_transaction
from headcount.store import events, jobs, outbox, registry

DEFAULT_FAILURE_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a user asks for.

    Attributes:
        project_id: the project the job belongs to.
        kind: the name of an installed job kind.
        dispatch_mode: who does the work; None takes the only mode of a kind that has one, else ``async_api``.
        pipeline: the slug of a pipeline offered in the project; needed where remote workers do the work.
        name: for people; empty makes one up.
        config: what the kind wants to know.
        failure_threshold: the share of failed tasks, 0.0 to 1.0, above which the job is a FAILURE.
        priority: a higher number is claimed first.
        fail_fast: end the job as soon as too many tasks have failed, and cancel those that are open.
    """

    project_id: int
    kind: str
    dispatch_mode: DispatchMode | None = None
    pipeline: str | None = None
    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    failure_threshold: float = DEFAULT_FAILURE_THRESHOLD
    priority: int = 0
    fail_fast: bool = False


def submit(deployment: Deployment, request: JobRequest) -> JobRecord:
    """Make a job and have it dispatched; returns it as it stands.

    Raises:
        BadInputError: the request does not fit; the message says what would.
    """
    new = _checked(deployment, request)
    now = deployment.clock()
    with write_transaction():
        job = jobs.create(new, now)
        events.append(job.ref, Event("job.submitted", f"{job.kind} job submitted"), now)
        outbox.add(job.ref, outbox.DISPATCH, now)
    relay(deployment, job.ref)
    return jobs.get(job.id)


def _checked(deployment: Deployment, request: JobRequest) -> jobs.NewJob:
    kind = deployment.kind(request.kind)
    mode = _dispatch_mode(kind, request.dispatch_mode)
    if not 0 <= request.failure_threshold <= 1:
        raise BadInputError(f"the failure threshold is a share from 0 to 1, not {request.failure_threshold:g}")
    return jobs.NewJob(
        project_id=request.project_id,
        pipeline_id=_pipeline_id(deployment, request, mode),
        name=request.name or kind.name,
        kind=kind.name,
        dispatch_mode=mode,
        failure_threshold=request.failure_threshold,
        priority=request.priority,
        fail_fast=request.fail_fast,
        config=dict(kind.check(request.project_id, request.config)),
    )


def _dispatch_mode(kind: JobKind, asked: DispatchMode | None) -> DispatchMode:
    if asked is None and len(kind.dispatch_modes) == 1:
        return next(iter(kind.dispatch_modes))
    if asked is None and DispatchMode.ASYNC_API in kind.dispatch_modes:
        return DispatchMode.ASYNC_API
    if asked not in kind.dispatch_modes:
        offered = ", ".join(sorted(kind.dispatch_modes))
        raise BadInputError(f"jobs of kind {kind.name!r} run as {offered}, not as {asked or 'nothing in particular'}")
    return DispatchMode(asked)


def _pipeline_id(deployment: Deployment, request: JobRequest, mode: DispatchMode) -> int | None:
    if mode is DispatchMode.INTERNAL:
        return None
    if not request.pipeline:
        raise BadInputError(f"an {mode} job needs a pipeline")
    pipeline_id = registry.pipeline_id(request.project_id, request.pipeline)
    if mode is DispatchMode.SYNC_API:
        check_can_be_pushed(deployment, request.project_id, request.pipeline)
    return pipeline_id
