"""Work: do the tasks of an internal job in the dispatcher itself."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from headcount.domain.judgement import storable_reason
from headcount.domain.records import JobRecord, LeasedTask, Outcome
from headcount.domain.states import WORKABLE_STATES
from headcount.errors import TemporaryError
from headcount.flow.account import account
from headcount.flow.lost import fail_spent
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import Checkpoint, never_interrupted
from headcount.ports.job_kind import JobKind
from headcount.store import jobs, ledger

BATCH = 20
"""Tasks between two looks at whether the job is still wanted; also what a crash has to do again."""

_WORKER = "dispatcher"
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


def work(deployment: Deployment, job: JobRecord, checkpoint: Checkpoint = never_interrupted) -> None:
    """Do every open task of an internal job, in order, until all are accounted or the job is no longer wanted."""
    kind = deployment.kind(job.kind)
    for ordinals in _batches(ledger.open_ordinals(job.id)):
        checkpoint()
        if jobs.status_of(job.id) not in WORKABLE_STATES:
            return
        tasks = _begin(deployment, job, ordinals)
        account(deployment, job, [_do(kind, job, task) for task in tasks])


def _batches(ordinals: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ordinals), BATCH):
        yield ordinals[start : start + BATCH]


def _begin(deployment: Deployment, job: JobRecord, ordinals: Sequence[int]) -> list[LeasedTask]:
    # The dispatcher is the only worker of an internal job: a lease still running is that of a dispatcher that died.
    now = deployment.clock()
    fail_spent(deployment, job, ordinals, held_until=_END_OF_TIME)
    return ledger.begin_attempts(
        job.id,
        ordinals,
        worker=_WORKER,
        leased_until=now + deployment.settings.ack_wait,
        max_attempts=deployment.settings.max_attempts,
    )


def _do(kind: JobKind, job: JobRecord, task: LeasedTask) -> Outcome:
    try:
        return Outcome(task.ordinal, task.attempt, result=kind.process(job, task))
    except TemporaryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a user's kind raises is that task's failure, not the job's
        return Outcome(task.ordinal, task.attempt, error=storable_reason(str(error)) or type(error).__name__)
