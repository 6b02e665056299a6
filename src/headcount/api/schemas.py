"""The bodies of requests and answers."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from headcount.api.storable import number_as_text, storable, storable_document
from headcount.domain.states import DispatchMode, JobState, Redo
from headcount.health.finding import Condition, Remedy

Text = Annotated[str, AfterValidator(storable)]
"""Text that every database takes."""

Document = Annotated[dict[str, Any], AfterValidator(storable_document)]
"""A JSON object that every database takes."""


class CallerOut(Schema):
    """Whom a token stands for."""

    token_name: str
    project_id: int
    scopes: list[str]


class JobIn(Schema):
    """What a user asks for."""

    kind: Text = "ml"
    dispatch_mode: DispatchMode | None = None
    pipeline: Text | None = None
    name: Text = Field("", max_length=200)
    config: Document = Field(default_factory=dict)
    failure_threshold: float = Field(0.5, ge=0, le=1, description="Above this share of failed tasks: FAILURE.")
    priority: int = Field(0, ge=-1000, le=1000, description="Higher is claimed first.")
    fail_fast: bool = Field(default=False, description="End at once when too many tasks have failed; cancel the rest.")


class RetryIn(Schema):
    """Which tasks of a job that has ended to do again."""

    only: Redo = Field(Redo.FAILED, description="What failed or is open, or with `unfinished` what was cancelled too.")


class BoundOut(Schema):
    """How far a running job is from FAILURE."""

    can_succeed: bool
    failures_left: int = Field(description="How many more tasks may fail and the job still succeed.")
    says: str


class StageOut(Schema):
    """One stage's counts."""

    stage: str
    total: int | None
    done: int
    failed: int


class CertificateOut(Schema):
    """A verdict with its arithmetic."""

    run: int
    status: str
    arithmetic: str
    reason: str
    counts: dict[str, int]
    threshold: float
    decided_at: datetime


class JobOut(Schema):
    """A job as it stands."""

    id: int
    name: str
    kind: str
    project_id: int
    pipeline_slug: str | None
    dispatch_mode: str
    status: str
    run: int
    task_total: int | None
    failure_threshold: float
    fail_fast: bool
    priority: int
    created_at: datetime
    finished_at: datetime | None
    bound: BoundOut | None = Field(description="While the job runs and its tasks are collected.")
    stages: list[StageOut]
    counts: dict[str, int] = Field(description="What was saved, by name.")
    certificates: list[CertificateOut]


class JobsOut(Schema):
    """A list of jobs; with ``ids_only`` each is ``{"id", "pipeline_slug"}``."""

    results: list[dict[str, Any]]


class EventOut(Schema):
    """One line of a job's log."""

    id: int
    run: int
    at: datetime
    level: str
    name: str
    message: str
    evidence: dict[str, Any]


class EventsOut(Schema):
    """A job's log, oldest first."""

    results: list[EventOut]


class LedgerRowOut(Schema):
    """One task as the ledger has it."""

    ordinal: int
    id: str = Field(description="The task's key.")
    state: str
    attempts: int
    error: str | None


class LedgerRowsOut(Schema):
    """Tasks of a job, in order; ``next_after`` is the ``after`` of the next page, null on the last."""

    results: list[LedgerRowOut]
    next_after: int | None


class AuditOut(Schema):
    """Whether every task is accounted for, from the rows themselves."""

    job_id: int
    clean: bool
    line: str
    offences: list[str]


class FindingOut(Schema):
    """One thing that is the matter with a job, and what the health loop does about it."""

    condition: Condition
    remedy: Remedy = Field(description="What the health loop does about it; none where it only reports.")
    explanation: str
    next_step: str = Field(description="What happens by itself; empty where nothing needs to.")
    due: datetime | None = Field(description="When it does, where that is known.")
    command: str = Field(description="What does it now; empty where nothing does.")
    fallback: str = Field(description="Which witness could not testify, why, and what was used instead.")
    outcome: JobState | None = Field(description="The status the remedy ends the job with, if it does.")
    evidence: dict[str, Any] = Field(description="The figures of every witness.")


class StatementOut(Schema):
    """What one witness says, or why it cannot testify."""

    witness: str
    says: str
    silent: bool


class DiagnosisOut(Schema):
    """What is known of a job, by whom, and what will be done about it."""

    job_id: int
    run: int
    status: str
    at: datetime
    headline: FindingOut
    findings: list[FindingOut] = Field(description="In the order in which the remedies are applied; never empty.")
    witnesses: list[StatementOut]


class ClaimIn(Schema):
    """How many tasks of one job a worker takes."""

    batch_size: int = Field(8, ge=1)
    worker: Text = Field("", max_length=200)


class ClaimAnyIn(ClaimIn):
    """The same, of whichever job needs these pipelines; waits for tasks if there are none."""

    pipelines: list[Text] = Field(min_length=1, max_length=100)
    wait_seconds: float = Field(0, ge=0)


class TasksOut(Schema):
    """The claimed tasks, all of one job.

    Each has an ``id``, whatever its job kind shows (``image_id``, ``image_url`` and ``payload`` for kind ``ml``), and
    the opaque ``reply_subject`` that its result, extension or release must bring back as it came.
    """

    job_id: int | None
    pipeline: str | None = Field(description="The slug of the pipeline that the job needs.")
    tasks: list[dict[str, Any]]
    ack_wait_seconds: float = Field(description="How long the leases last unless extended.")


class ResultsIn(Schema):
    """A batch of results: ``{"reply_subject": ..., "result": {...} or {"error": ..., "image_id": ...}}`` each.

    Each is judged by itself: what does not fit is named in the answer and keeps nothing else from being saved.
    """

    results: list[Any]
    worker: Text = Field("", max_length=200)


class AnswerOut(Schema):
    """What became of one result."""

    reply_subject: str
    status: Literal["saved", "duplicate", "stale", "rejected"]
    task_id: str | None = None
    reason: str | None = None


class ResultsOut(Schema):
    """What became of a batch; ``results_queued`` counts the results that were saved or recorded."""

    status: Literal["accepted"] = "accepted"
    job_id: int
    results_queued: int
    tasks: list[AnswerOut]


class LeasesIn(Schema):
    """Lease tokens, as they came with the tasks."""

    leases: list[str]


class LeaseOut(Schema):
    """What became of one lease."""

    reply_subject: str
    status: Literal["extended", "released", "stale", "cancelled", "done", "rejected"]
    reason: str | None = None


class LeasesOut(Schema):
    """One answer for each lease, in order."""

    leases: list[LeaseOut]


class AlgorithmIn(Schema):
    """An algorithm that a pipeline runs."""

    model_config = ConfigDict(extra="allow")

    key: str = Field(max_length=500)
    name: str = ""
    version: str | int = ""

    @model_validator(mode="after")
    def _is_storable(self) -> Self:
        storable_document(self.model_dump())
        return self


class PipelineIn(Schema):
    """A pipeline that a service offers."""

    name: Text = Field(min_length=1, max_length=200)
    slug: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")
    version: Annotated[Text, BeforeValidator(number_as_text, str | int)] = Field("1", max_length=100)
    algorithms: list[AlgorithmIn] = Field(default_factory=list, max_length=100)


class PipelinesIn(Schema):
    """The pipelines of one processing service."""

    processing_service_name: Text = Field(min_length=1, max_length=200)
    pipelines: list[PipelineIn] = Field(min_length=1, max_length=100)


class PipelinesOut(Schema):
    """The slugs now registered."""

    pipelines: list[str]
