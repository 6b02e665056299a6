"""Frozen records that pass between the rooms of the house."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from fractions import Fraction
from typing import Any

from headcount.domain.states import AnswerStatus, DispatchMode, JobState, LeaseStatus, Stage, TaskState


@dataclass(frozen=True, slots=True, order=True)
class JobRef:
    """Names one run of one job."""

    job_id: int
    run: int


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What the flow needs to know of a job, read in one query.

    ``set_aside`` is how many tasks were cancelled in an earlier run and are not taken up by this one.
    """

    id: int
    run: int
    kind: str
    name: str
    project_id: int
    pipeline: str | None
    dispatch_mode: DispatchMode
    status: str
    task_total: int | None
    published: bool
    failure_threshold: float
    priority: int
    config: Mapping[str, Any]
    created_at: datetime
    finished_at: datetime | None = None
    fail_fast: bool = False
    set_aside: int = 0

    @property
    def ref(self) -> JobRef:
        """The run this job is in."""
        return JobRef(self.id, self.run)

    @property
    def state(self) -> JobState | None:
        """The job's state, or None where the row holds a word nobody knows."""
        return JobState.parse(self.status)

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        state = self.state
        return state is not None and state.is_final


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task as a job kind collects it: ``key`` is unique in its job, ``payload`` is JSON."""

    key: str
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeasedTask:
    """One task in the hands of a worker; ``attempt`` counts from 1 and is the fence against stale holders."""

    ordinal: int
    key: str
    payload: Mapping[str, Any]
    attempt: int


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How many tasks of a job stand where; their sum is the job's N."""

    waiting: int = 0
    leased: int = 0
    received: int = 0
    saved: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        """N."""
        return self.open + self.accounted

    @property
    def open(self) -> int:
        """Tasks whose result still counts."""
        return self.waiting + self.leased + self.received

    @property
    def accounted(self) -> int:
        """Tasks that have ended."""
        return self.saved + self.failed + self.cancelled

    @property
    def failed_share(self) -> Fraction:
        """Failed tasks over all tasks, exactly."""
        return Fraction(self.failed, self.total) if self.total else Fraction(0)

    def exceeds(self, threshold: float) -> bool:
        """Whether the failed share is strictly greater than the threshold as it is written in decimal."""
        return self.failed_share > Fraction(str(threshold))

    def by_state(self) -> dict[str, int]:
        """Return the counts keyed by the name of the task state, in flow order."""
        return {name: getattr(self, name) for name in _COUNTS_IN_FLOW_ORDER}


_COUNTS_IN_FLOW_ORDER = tuple(item.name for item in fields(TaskCounts))


@dataclass(frozen=True, slots=True)
class StageProgress:
    """One stage's counts: ``done`` are those that succeeded, ``failed`` those that did not."""

    stage: Stage
    total: int | None
    done: int = 0
    failed: int = 0

    @property
    def accounted(self) -> int:
        """Tasks this stage has dealt with, either way."""
        return self.done + self.failed

    @property
    def is_complete(self) -> bool:
        """Whether the total is known and everything is accounted."""
        return self.total is not None and self.accounted >= self.total


@dataclass(frozen=True, slots=True)
class JobProgress:
    """What the progress rows say of a job: for people, never for a verdict while a ledger exists."""

    stages: tuple[StageProgress, ...] = ()

    def is_complete(self) -> bool:
        """Whether every stage is there and complete; absence never reads as completion."""
        named = {stage.stage for stage in self.stages}
        return named == set(Stage) and all(stage.is_complete for stage in self.stages)

    def stage(self, stage: Stage) -> StageProgress:
        """Return one stage's counts, empty where no row exists."""
        return next((item for item in self.stages if item.stage is stage), StageProgress(stage, None))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be accounted for one task: a parsed result to save, or the reason it failed.

    Exactly one of ``result`` and ``error`` is set. ``named_key`` is the task key the result itself names, if any.
    ``attempt`` is None where no lease stands behind it (internal work).
    """

    ordinal: int
    attempt: int | None
    result: Any = None
    error: str | None = None
    named_key: str | None = None

    def __post_init__(self) -> None:
        """Refuse an outcome that is both or neither."""
        if (self.result is None) == (self.error is None):
            raise ValueError("an outcome has either a result or an error")


@dataclass(frozen=True, slots=True)
class AccountedTask:
    """A task that has just been accounted; ``failed`` tells which way."""

    task_id: int
    ordinal: int
    key: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What one posted result is answered with."""

    reply_subject: str
    status: AnswerStatus
    task_key: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """What one lease in an extend or release request is answered with."""

    reply_subject: str
    status: LeaseStatus
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One ledger row as an account of it needs it."""

    task_id: int
    ordinal: int
    key: str
    state: TaskState
    attempt: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """The verdict as it is kept for ever; ``follows_dispatcher`` where it is a dispatcher's word, not the figures'."""

    run: int
    status: JobState
    arithmetic: str
    reason: str
    counts: TaskCounts
    threshold: float
    decided_at: datetime
    follows_dispatcher: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's append-only log."""

    name: str
    message: str
    level: str = "info"
    evidence: Mapping[str, Any] = field(default_factory=dict)
