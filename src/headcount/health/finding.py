"""The words of a diagnosis: what is the matter with a job, what speaks for it, and what is done about it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from headcount.domain.states import JobState


class Condition(StrEnum):
    """What can be the matter with a job."""

    HEALTHY = "healthy"
    ENDED = "ended"
    WAITING_FOR_WORKERS = "waiting_for_workers"
    FINISHED_NOT_FINALISED = "finished_not_finalised"
    CANCEL_NOT_FINISHED = "cancel_not_finished"
    PROGRESS_BEHIND = "progress_behind"
    STATE_LOST = "state_lost"
    STATE_ELSEWHERE = "state_elsewhere"
    STATE_DISAGREES = "state_disagrees"
    LOST_TASKS = "lost_tasks"
    SPENT_TASKS = "spent_tasks"
    REDELIVERY_CLIMBING = "redelivery_climbing"
    HUNG_WORKER = "hung_worker"
    RESULT_SWALLOWED = "result_swallowed"
    STATUS_DISAGREES = "status_disagrees"
    ORPHANS = "orphans"
    DISPATCHER_DIED = "dispatcher_died"
    STALLED = "stalled"
    STATUS_UNKNOWN = "status_unknown"
    WITNESS_SILENT = "witness_silent"


class Remedy(StrEnum):
    """What the health loop does about a finding; each is one repair."""

    NONE = "none"
    FINALISE = "finalise"
    FINISH_CANCEL = "finish_cancel"
    LEVEL_PROGRESS = "level_progress"
    REBUILD_STATE = "rebuild_state"
    REPUBLISH = "republish"
    FAIL_SPENT = "fail_spent"
    RESUME_DISPATCH = "resume_dispatch"
    FOLLOW_DISPATCHER = "follow_dispatcher"
    FOLLOW_PROGRESS = "follow_progress"
    REVOKE = "revoke"
    CLEAN_UP = "clean_up"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is the matter with a job.

    Attributes:
        condition: its name.
        remedy: what the loop does about it.
        explanation: one sentence for a person.
        evidence: the figures it rests on, as JSON.
        next_step: what will happen by itself; empty where nothing needs to.
        due: when that will be, where it is known.
        command: the command that would do it now; empty where there is none.
        fallback: where a witness could not testify or was overruled: which one, why, and what was used instead; no
            more than one finding of a job carries it.
        outcome: the status the remedy ends the job with; None where it ends nothing.
    """

    condition: Condition
    remedy: Remedy
    explanation: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    next_step: str = ""
    due: datetime | None = None
    command: str = ""
    fallback: str = ""
    outcome: JobState | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the health loop is; a part of the deployment's settings.

    Attributes:
        stalled_after: no progress for this long makes a job stale.
        revoke_without_workers_after: no worker of the pipeline for this long ends a job that waits for one.
        dispatch_lease: how long a dispatch may be silent before it counts as dead.
        max_attempts: how often a task is handed out.
        dispatch_attempts: how often a dispatch is taken up again.
        health_interval: from one look of the loop to the next.
        ack_wait: how long a lease lasts unless it is extended.
        zombie_safety_age: how long what is left over of a run that has ended is let be.
        finish_within: how long the request that decided a job's end is left to write it.
    """

    stalled_after: timedelta = timedelta(minutes=10)
    revoke_without_workers_after: timedelta = timedelta(hours=24)
    dispatch_lease: timedelta = timedelta(seconds=10)
    max_attempts: int = 5
    dispatch_attempts: int = 10
    health_interval: timedelta = timedelta(seconds=60)
    ack_wait: timedelta = timedelta(seconds=30)
    zombie_safety_age: timedelta = timedelta(hours=1)
    finish_within: timedelta = timedelta(seconds=2)
