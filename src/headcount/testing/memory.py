"""Engines in memory that keep every promise of their port and break whatever a port does not promise, on demand.

Each engine has ``faults``: what goes wrong, and when. An engine here never answers better than a real one does: what is
lost is gone, what is delivered twice is delivered twice, and a call that failed may still have had its effect.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from threading import RLock

from headcount.domain.records import JobRef, StageProgress
from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.errors import DispatchInterruptedError, EngineUnavailableError, PermanentError
from headcount.ports.dispatcher import DispatchTestimony, Note, nothing_to_note
from headcount.ports.holdings import HeldRun, Holdings
from headcount.ports.news import News
from headcount.ports.state_manager import Mark, Silence, Snapshot, Unknown
from headcount.ports.task_queue import Delivery, QueueDepth
from headcount.testing.faults import Faults, breakable


@dataclass(slots=True)
class _Message:
    ordinal: int
    sequence: int
    leased_until: datetime | None = None
    deliveries: int = 0


class MemoryTaskQueue:
    """Delivers from dictionaries; a message has a sequence for life, as in a stream, and only that acknowledges it."""

    name = "memory"
    in_database = False

    def __init__(self) -> None:
        self.faults = Faults("queue")
        self._lock = RLock()
        self._sequences = count(1)
        self._runs: dict[JobRef, dict[int, _Message]] = {}
        self._news = News()

    def listen(self) -> News:
        """Return the news of this process; others are not heard."""
        return self._news

    @breakable
    def publish(self, job: JobRef, ordinals: Sequence[int], *, generation: int = 0) -> None:
        """Put in those tasks that are not there."""
        messages = self._runs.setdefault(job, {})
        for ordinal in ordinals:
            if ordinal not in messages:
                messages[ordinal] = _Message(ordinal, next(self._sequences))
        self._news.tell()

    @breakable
    def claim(self, job: JobRef, limit: int, *, lease: timedelta, now: datetime) -> list[Delivery]:
        """Take up to ``limit`` ready tasks, lowest ordinal first."""
        ready = [message for message in self._of(job) if message.leased_until is None]
        taken = sorted(ready, key=lambda message: message.ordinal)[:limit]
        for message in taken:
            message.leased_until = now + lease
            message.deliveries += 1
        return [Delivery(message.ordinal, message.sequence) for message in taken]

    @breakable
    def extend(self, job: JobRef, deliveries: Sequence[Delivery], *, lease: timedelta, now: datetime) -> None:
        """Let the leases end ``lease`` from ``now``."""
        for message in self._named(job, deliveries):
            if message.leased_until is not None:
                message.leased_until = now + lease

    @breakable
    def release(self, job: JobRef, deliveries: Sequence[Delivery]) -> None:
        """Make tasks ready at once."""
        for message in self._named(job, deliveries):
            message.leased_until = None
        self._news.tell()

    @breakable
    def acknowledge(self, job: JobRef, deliveries: Sequence[Delivery]) -> None:
        """Delete the tasks' messages."""
        for message in self._named(job, deliveries):
            del self._runs[job][message.ordinal]

    @breakable
    def reclaim_expired(self, now: datetime) -> int:
        """Make tasks ready whose lease has ended."""
        expired = [
            message
            for job in self._runs
            for message in self._of(job)
            if message.leased_until is not None and message.leased_until < now
        ]
        for message in expired:
            message.leased_until = None
        return len(expired)

    @breakable
    def depth(self, job: JobRef) -> QueueDepth | None:
        """Count the run's messages; None for a run that was never published, was removed or is lost."""
        return self._depth(job)

    @breakable
    def depths(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, QueueDepth | None]:
        """Count each run's messages."""
        return {job: self._depth(job) for job in jobs}

    @breakable
    def held_runs(self) -> Holdings:
        """Return every run that was published and not removed; since when is not kept."""
        return _holdings(self._runs)

    @breakable
    def remove(self, job: JobRef) -> None:
        """Forget a run."""
        self._runs.pop(job, None)

    def lose_everything(self) -> None:
        """Lose every message of every run, as a deleted stream does."""
        with self._lock:
            self._runs.clear()

    def drop(self, job: JobRef, ordinals: Iterable[int]) -> None:
        """Lose single messages without a word."""
        with self._lock:
            for ordinal in ordinals:
                self._runs.get(job, {}).pop(ordinal, None)

    def redeliver(self, job: JobRef, ordinals: Iterable[int]) -> None:
        """Deliver again what is under a running lease, as a restarted server does that forgot its leases."""
        with self._lock:
            for ordinal in ordinals:
                if message := self._runs.get(job, {}).get(ordinal):
                    message.leased_until = None

    def ready(self) -> list[JobRef]:
        """Return every run with a task that can be claimed now, the longest known first."""
        with self._lock:
            return [job for job in self._runs if any(message.leased_until is None for message in self._of(job))]

    def runs(self) -> frozenset[JobRef]:
        """Return every run the queue knows of."""
        with self._lock:
            return frozenset(self._runs)

    def _depth(self, job: JobRef) -> QueueDepth | None:
        if job not in self._runs:
            return None
        messages = self._of(job)
        in_flight = sum(message.leased_until is not None for message in messages)
        redelivered = sum(message.deliveries > 1 for message in messages)
        return QueueDepth(len(messages) - in_flight, in_flight, redelivered)

    def _of(self, job: JobRef) -> list[_Message]:
        return list(self._runs.get(job, {}).values())

    def _named(self, job: JobRef, deliveries: Sequence[Delivery]) -> list[_Message]:
        named = {(delivery.ordinal, delivery.sequence) for delivery in deliveries}
        return [message for message in self._of(job) if (message.ordinal, message.sequence) in named]


@dataclass(slots=True)
class _RunState:
    total: int
    marks: dict[tuple[Stage, int], bool] = field(default_factory=dict)

    def record(self, marks: Iterable[Mark]) -> int:
        """Keep marks of tasks that the run has and that are new; returns how many."""
        before = len(self.marks)
        for mark in marks:
            if mark.stage in STATE_MANAGER_STAGES and 0 <= mark.ordinal < self.total:
                self.marks.setdefault((mark.stage, mark.ordinal), mark.failed)
        return len(self.marks) - before

    def snapshot(self, newly: int = 0) -> Snapshot:
        counts = Counter((stage, failed) for (stage, _), failed in self.marks.items())
        stages = (
            StageProgress(stage, self.total, counts[stage, False], counts[stage, True])
            for stage in STATE_MANAGER_STAGES
        )
        return Snapshot(tuple(stages), newly)


class MemoryStateManager:
    """Counts marks in a dictionary for each run."""

    name = "memory"
    in_database = False

    def __init__(self) -> None:
        self.faults = Faults("state manager")
        self._lock = RLock()
        self._runs: dict[JobRef, _RunState] = {}

    @breakable
    def initialise(self, job: JobRef, total: int) -> None:
        """Begin to account for a run; a run that is known already stays as it is."""
        self._runs.setdefault(job, _RunState(total))

    @breakable
    def account(self, job: JobRef, marks: Sequence[Mark]) -> Snapshot | Unknown:
        """Record marks and return the counts after them."""
        if job not in self._runs:
            return _absent(job)
        newly = self._runs[job].record(marks)
        return self._runs[job].snapshot(newly)

    def snapshot(self, job: JobRef) -> Snapshot | Unknown:
        """Return the counts."""
        try:
            return self._snapshot(job)
        except EngineUnavailableError as error:
            return Unknown(str(error))

    def snapshots(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, Snapshot | Unknown]:
        """Return the counts of each run."""
        try:
            return self._snapshots(jobs)
        except EngineUnavailableError as error:
            return dict.fromkeys(jobs, Unknown(str(error)))

    @breakable
    def held_runs(self) -> Holdings:
        """Return every run that is counted; since when is not kept."""
        return _holdings(self._runs)

    def all_tasks_processed(self, job: JobRef) -> bool | None:
        """Whether both stages are complete; None where the state manager cannot testify."""
        answer = self.snapshot(job)
        return answer.all_tasks_processed if isinstance(answer, Snapshot) else None

    def rebuild_from(self, job: JobRef, total: int, marks: Iterable[Mark]) -> Snapshot:
        """Replace a run's counts by what the marks add up to; the stream is read before anybody has to wait."""
        rebuilt = _RunState(total)
        rebuilt.record(marks)
        return self._rebuild_from(job, rebuilt)

    @breakable
    def clean_up(self, job: JobRef) -> None:
        """Forget a run."""
        self._runs.pop(job, None)

    def lose_everything(self) -> None:
        """Lose every run, as a flush does."""
        with self._lock:
            self._runs.clear()

    def lose_stage(self, job: JobRef, stage: Stage) -> None:
        """Lose the marks of one stage, as the eviction of one of several keys does."""
        with self._lock:
            if state := self._runs.get(job):
                state.marks = {mark: failed for mark, failed in state.marks.items() if mark[0] is not stage}

    def marks(self, job: JobRef) -> dict[tuple[Stage, int], bool]:
        """Return every mark of a run: whether the task failed, by stage and ordinal."""
        with self._lock:
            return dict(self._runs[job].marks) if job in self._runs else {}

    def runs(self) -> frozenset[JobRef]:
        """Return every run the state manager knows of."""
        with self._lock:
            return frozenset(self._runs)

    @breakable
    def _snapshot(self, job: JobRef) -> Snapshot | Unknown:
        return self._known(job)

    @breakable
    def _snapshots(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, Snapshot | Unknown]:
        return {job: self._known(job) for job in jobs}

    def _known(self, job: JobRef) -> Snapshot | Unknown:
        return self._runs[job].snapshot() if job in self._runs else _absent(job)

    @breakable
    def _rebuild_from(self, job: JobRef, rebuilt: _RunState) -> Snapshot:
        self._runs[job] = rebuilt
        return rebuilt.snapshot()


def _absent(job: JobRef) -> Unknown:
    return Unknown(f"the state manager has no counts of job {job.job_id}, run {job.run}", Silence.ABSENT)


def _holdings(jobs: Iterable[JobRef]) -> Holdings:
    return Holdings(tuple(HeldRun(job) for job in sorted(jobs)))


class MemoryDispatcher:
    """Keeps runs in a dictionary until somebody takes them up with ``run_next``; there is no thread."""

    name = "memory"
    in_database = False
    broker = "memory"

    def __init__(self, max_attempts: int = 10) -> None:
        self.faults = Faults("dispatcher")
        self._lock = RLock()
        self._max_attempts = max_attempts
        self._runs: dict[JobRef, DispatchTestimony] = {}

    @breakable
    def enqueue(self, job: JobRef) -> None:
        """Accept a run; one that is there already stays as it is."""
        self._runs.setdefault(job, DispatchTestimony("PENDING", 0))

    @breakable
    def resume(self, job: JobRef, note: Note = nothing_to_note) -> bool:
        """Make a finished, failed or missing dispatch due again."""
        known = self._runs.get(job)
        is_over = known is None or known.state in ("SUCCESS", "FAILURE")
        if is_over:
            note()
            self._runs[job] = DispatchTestimony("PENDING", 0)
        return is_over

    @breakable
    def testimony(self, job: JobRef) -> DispatchTestimony | None:
        """Return what is known of a run."""
        return self._runs.get(job)

    @breakable
    def testimonies(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, DispatchTestimony | None]:
        """Return what is known of each run."""
        return {job: self._runs.get(job) for job in jobs}

    @breakable
    def reach_broker(self) -> None:
        """Do nothing, unless the faults have it away."""

    def run_next(self, run: Callable[[JobRef], None], abandon: Callable[[JobRef, str], None]) -> JobRef | None:
        """Take up the oldest due run and do it here; returns which it was, None when none is due.

        A run that raises is due again until its attempts are spent, then it is abandoned. A process that dies in it
        leaves it STARTED, and nobody takes it up before ``forget_holders``.
        """
        with self._lock:
            job = next(iter(self.due()), None)
            if job is None:
                return None
            self._runs[job] = DispatchTestimony("STARTED", self._runs[job].attempts + 1)
        self._carry_out(job, run, abandon)
        return job

    def due(self) -> list[JobRef]:
        """Return the runs that wait to be taken up, the longest known first."""
        with self._lock:
            return [job for job, known in self._runs.items() if known.state == "PENDING"]

    def forget_holders(self) -> None:
        """Make every run due again that is under way, as when the lease of a dead dispatcher ends."""
        with self._lock:
            for job, known in self._runs.items():
                if known.state == "STARTED":
                    self._runs[job] = replace(known, state="PENDING")

    def lose_everything(self) -> None:
        """Lose every run, as a deleted broker queue does."""
        with self._lock:
            self._runs.clear()

    def _carry_out(self, job: JobRef, run: Callable[[JobRef], None], abandon: Callable[[JobRef, str], None]) -> None:
        attempts = self._runs[job].attempts
        try:
            run(job)
        except DispatchInterruptedError:
            self._close(job, DispatchTestimony("PENDING", attempts - 1))
        except Exception as error:  # noqa: BLE001 - as every dispatcher: a run that raises is retried or abandoned
            if isinstance(error, PermanentError) or attempts >= self._max_attempts:
                abandon(job, str(error))
                self._close(job, DispatchTestimony("FAILURE", attempts, str(error)))
            else:
                self._close(job, DispatchTestimony("PENDING", attempts, str(error)))
        else:
            self._close(job, DispatchTestimony("SUCCESS", attempts))

    def _close(self, job: JobRef, testimony: DispatchTestimony) -> None:
        with self._lock:
            self._runs[job] = testimony
