"""What all witnesses said about one job, gathered without holding a lock. Pure records; no Django, no I/O.

A witness that did not answer is ``Unknown`` with the reason: never a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from headcount.domain.records import JobProgress, JobRecord, TaskCounts
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Snapshot, Unknown
from headcount.ports.task_queue import QueueDepth


@dataclass(frozen=True, slots=True)
class LedgerTestimony:
    """What the task rows of a job say.

    Attributes:
        counts: how many tasks stand where.
        unheld: open tasks that no running lease covers.
        spent: unheld tasks whose attempts are used up: nobody will be handed them again.
        most_attempts: the most attempts that any open task has behind it; releases do not count.
        leases_end_at: when the last running lease ends; None where none runs.
        last_accounted_at: when the last task came to its end, whichever; None where none has.
    """

    counts: TaskCounts
    unheld: int = 0
    spent: int = 0
    most_attempts: int = 0
    leases_end_at: datetime | None = None
    last_accounted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkersTestimony:
    """Who offers the job's pipeline: how many were seen lately, and when the last one was."""

    seen_lately: int
    last_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a job has stood still, by the loop's own clock.

    The clock runs only from one look to the next and only while every engine answered, so that neither a night
    without a health loop nor an hour without a broker ages a job.

    Attributes:
        without_progress: since something was last seen to move.
        without_workers: since a worker of the job's pipeline was last seen.
        moved_at: when something was last seen to move, for people.
    """

    without_progress: timedelta = timedelta(0)
    without_workers: timedelta = timedelta(0)
    moved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything known of one job at one moment.

    It takes a while to gather. Durability runs one way, so whoever gathers asks against it: the dispatcher before
    the job's row, the row before queue and state manager, and the ledger last. What happens in between then makes a
    witness look behind the ledger, or a job finished, and never lost or ahead, which would raise an alarm.

    Attributes:
        job: the job's row; ``job.status`` may be a word nobody knows.
        ledger: the task rows' counts.
        state: the state manager's counts.
        queue: what the queue knows of the run; None where it knows nothing of it.
        dispatcher: what the dispatcher knows of the run; None where it knows nothing of it. Without its broker it is
            silent, whatever it has noted: nobody can be handed a run then.
        workers: who offers the job's pipeline.
        progress: what the progress rows say.
        patience: how long the job has stood still.
        leftovers: engines that still hold something of a run that is over, each with what it holds.
    """

    job: JobRecord
    ledger: LedgerTestimony | Unknown
    state: Snapshot | Unknown
    queue: QueueDepth | Unknown | None
    dispatcher: DispatchTestimony | Unknown | None
    workers: WorkersTestimony | Unknown
    progress: JobProgress | Unknown = field(default_factory=JobProgress)
    patience: Patience = field(default_factory=Patience)
    leftovers: Mapping[str, str] = field(default_factory=dict)
