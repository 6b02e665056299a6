"""The words for where a job, a task and a stage can stand."""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands; Celery's word wherever Celery has one.

    Source of the shared words: ``celery.states`` (PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED).
    """

    CREATED = "CREATED"
    PENDING = "PENDING"
    STARTED = "STARTED"
    RETRY = "RETRY"
    CANCELING = "CANCELING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state has ended for good."""
        return self in FINAL_STATES

    @classmethod
    def parse(cls, text: object) -> "JobState | None":
        """Return the state a string names, or None for a string nobody knows (an old row, a foreign system)."""
        return _STATE_OF_WORD.get(str(text).upper())


_STATE_OF_WORD: dict[str, JobState] = {state.value: state for state in JobState}

FINAL_STATES = frozenset({JobState.SUCCESS, JobState.FAILURE, JobState.REVOKED})
RUNNING_STATES = frozenset(JobState) - FINAL_STATES
WORKABLE_STATES = frozenset({JobState.PENDING, JobState.STARTED, JobState.RETRY})
"""States in which tasks are handed out."""

_LEGAL_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.CREATED: frozenset({JobState.PENDING, JobState.STARTED}),
    JobState.PENDING: frozenset({JobState.STARTED}),
    JobState.STARTED: frozenset({JobState.RETRY}),
    JobState.RETRY: frozenset({JobState.STARTED}),
    JobState.CANCELING: frozenset(),
}
_RUNNING_NOT_CANCELING = RUNNING_STATES - {JobState.CANCELING}


def from_states(target: JobState) -> frozenset[JobState]:
    """Return every state a job may be in just before it enters ``target``.

    A final state is entered from any running one, except that a job being cancelled ends only REVOKED. A retry takes
    a job that has ended back to CREATED, as its next run.
    """
    if target is JobState.CREATED:
        return FINAL_STATES
    if target is JobState.REVOKED:
        return RUNNING_STATES
    if target.is_final or target is JobState.CANCELING:
        return _RUNNING_NOT_CANCELING
    return frozenset(source for source, targets in _LEGAL_TRANSITIONS.items() if target in targets)


class TaskState(StrEnum):
    """Where one task of the ledger stands.

    ``RECEIVED`` is a result that came in and waits to be saved; kinds that save in the receiving transaction, as all
    shipped ones do, leave no task resting there.
    """

    WAITING = "waiting"
    LEASED = "leased"
    RECEIVED = "received"
    SAVED = "saved"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether a result for a task in this state still counts."""
        return self in OPEN_TASK_STATES


OPEN_TASK_STATES = frozenset({TaskState.WAITING, TaskState.LEASED, TaskState.RECEIVED})
ACCOUNTED_TASK_STATES = frozenset(TaskState) - OPEN_TASK_STATES


class Stage(StrEnum):
    """The steps every job goes through, in order."""

    COLLECT = "collect"
    PROCESS = "process"
    RESULTS = "results"


STATE_MANAGER_STAGES = (Stage.PROCESS, Stage.RESULTS)
"""The stages many processes count at once; ``collect`` is one dispatcher's work."""


class DispatchMode(StrEnum):
    """Who does the work of a job."""

    INTERNAL = "internal"
    SYNC_API = "sync_api"
    ASYNC_API = "async_api"


class AnswerStatus(StrEnum):
    """What became of one posted result."""

    SAVED = "saved"
    DUPLICATE = "duplicate"
    STALE = "stale"
    REJECTED = "rejected"


class LeaseStatus(StrEnum):
    """What became of one lease that a worker asked to extend or release."""

    EXTENDED = "extended"
    RELEASED = "released"
    STALE = "stale"
    CANCELLED = "cancelled"
    DONE = "done"
    REJECTED = "rejected"


class Redo(StrEnum):
    """What a retry takes up of a job that has ended: what failed or is open, or what was cancelled too."""

    FAILED = "failed"
    UNFINISHED = "unfinished"


class Scope(StrEnum):
    """What a token allows."""

    SUBMIT = "submit"
    WORK = "work"
    READ = "read"
