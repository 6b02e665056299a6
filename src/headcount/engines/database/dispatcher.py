"""The dispatcher in the database: a row for each run, and runner threads that hold a lease on what they run."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import close_old_connections, connection

from headcount.clock import Clock
from headcount.domain.records import JobRef
from headcount.domain.retry import LONGEST_WAIT, backoff
from headcount.engines.database.models import Dispatch
from headcount.engines.database.queue import answering
from headcount.errors import DispatchInterruptedError, EngineUnavailableError, PermanentError
from headcount.ports.dispatcher import Checkpoint, DispatchTestimony, Note, nothing_to_note
from headcount.statements import Statements, write_transaction

_SQL = Statements("headcount.engines.database.sql")
_log = structlog.get_logger(__name__)


class DatabaseDispatcher:
    """Accepts runs as rows; a ``Runner``, here or in another process, takes them up."""

    name = "database"
    in_database = True
    broker = None

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wake = threading.Event()

    @property
    def wake(self) -> threading.Event:
        """Set when a run was enqueued in this process, so that a runner here need not wait for its next look."""
        return self._wake

    def enqueue(self, job: JobRef) -> None:
        """Write the run's row; one that is there already stays as it is."""
        row = Dispatch(job_id=job.job_id, run=job.run, available_at=self._clock())
        with answering(), write_transaction():
            Dispatch.objects.bulk_create([row], ignore_conflicts=True)
        self._wake.set()

    def resume(self, job: JobRef, note: Note = nothing_to_note) -> bool:
        """Make a finished, failed or missing dispatch due again; one that is under way or due is left alone."""
        now = self._clock()
        of_run = {"job_id": job.job_id, "run": job.run}
        with answering(), write_transaction():
            _, made = Dispatch.objects.get_or_create(**of_run, defaults={"available_at": now})
            over = Dispatch.objects.filter(**of_run, state__in=("SUCCESS", "FAILURE"))
            resumed = made or over.update(state="PENDING", available_at=now, attempts=0) > 0
            if resumed:
                note()
        self._wake.set()
        return resumed

    def testimony(self, job: JobRef) -> DispatchTestimony | None:
        """Return the row's word."""
        with answering():
            row = Dispatch.objects.filter(job_id=job.job_id, run=job.run).first()
        return None if row is None else _testimony(row)

    def testimonies(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, DispatchTestimony | None]:
        """Return each row's word, in one statement."""
        with answering():
            rows = list(Dispatch.objects.filter(job_id__in=sorted({job.job_id for job in jobs})))
        found = {JobRef(row.job_id, row.run): _testimony(row) for row in rows}
        return {job: found.get(job) for job in jobs}

    def reach_broker(self) -> None:
        """Do nothing: runners read the rows themselves."""


def _testimony(row: Dispatch) -> DispatchTestimony:
    return DispatchTestimony(row.state, row.attempts, row.error or None)


@dataclass(frozen=True, slots=True)
class _Held:
    id: int
    job: JobRef
    attempts: int


class Runner:
    """Runs enqueued runs on threads of this process, several at once, each under a lease it extends while it lives.

    Args:
        dispatcher: whose rows to take up.
        run: does the work of one run; safe to repeat; calls the checkpoint it is given between its steps.
        abandon: called with a run and the reason when its dispatch failed for good.
        lease: how long a row is held after the last sign of life of its process.
        max_attempts: how often a run is begun before it is abandoned.
        threads: how many runs go on at once.
    """

    def __init__(
        self,
        dispatcher: DatabaseDispatcher,
        *,
        run: Callable[[JobRef, Checkpoint], None],
        abandon: Callable[[JobRef, str], None],
        clock: Clock,
        lease: timedelta,
        max_attempts: int,
        threads: int = 4,
    ) -> None:
        self._dispatcher = dispatcher
        self._run = run
        self._abandon = abandon
        self._clock = clock
        self._lease = lease
        self._max_attempts = max_attempts
        self._slots = threading.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dispatch")
        self._held: dict[int, _Held] = {}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._take_up_forever, name="dispatch-runner"),
            threading.Thread(target=self._extend_forever, name="dispatch-heartbeat"),
        ]

    def start(self) -> None:
        """Begin to take up runs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take up nothing more, stop what is running at its next checkpoint, return when every thread has ended."""
        self._stopping.set()
        self._dispatcher.wake.set()
        self._threads[0].join()
        self._pool.shutdown(wait=True)
        self._threads[1].join()

    def run_one(self) -> bool:
        """Take up one due run and do it on this thread; returns whether there was one."""
        held = self._take_up()
        if held is not None:
            self._carry_out(held)
        return held is not None

    def _take_up_forever(self, look_every: float = 0.25) -> None:
        while not self._stopping.is_set():
            self._dispatcher.wake.clear()
            if not self._take_up_into_pool():
                self._dispatcher.wake.wait(look_every)
        connection.close()

    def _take_up_into_pool(self) -> bool:
        if not self._slots.acquire(timeout=1):
            return False
        try:
            held = self._take_up()
        except EngineUnavailableError as error:
            _log.warning("dispatch.waiting_for_database", reason=str(error))
            held = None
        if held is None:
            self._slots.release()
            return False
        self._pool.submit(self._carry_out_in_pool, held)
        return True

    def _take_up(self) -> _Held | None:
        now = self._clock()
        # Nothing is put off for longer: what is due later than that was noted by a clock that has been set back since.
        parameters = {"now": now, "leased_until": now + self._lease, "latest": now + LONGEST_WAIT}
        with answering(), write_transaction():
            rows = _SQL.returning("claim_dispatch", parameters)
        if not rows:
            return None
        row_id, job_id, run, attempts = rows[0]
        held = _Held(row_id, JobRef(job_id, run), attempts)
        self._held[held.id] = held
        return held

    def _carry_out_in_pool(self, held: _Held) -> None:
        try:
            self._carry_out(held)
        except EngineUnavailableError as error:
            _log.warning("dispatch.left_to_its_lease", job=held.job.job_id, reason=str(error))
        finally:
            self._slots.release()
            self._dispatcher.wake.set()
            close_old_connections()

    def _carry_out(self, held: _Held) -> None:
        try:
            self._run_or_refuse(held)
        except DispatchInterruptedError:
            self._close(held, state="PENDING", attempts=held.attempts - 1, available_at=self._clock())
        except Exception as error:  # noqa: BLE001 - a run that raises is retried or abandoned; the runner goes on
            self._failed(held, error)
        else:
            self._close(held, state="SUCCESS")
        finally:
            self._held.pop(held.id, None)

    def _run_or_refuse(self, held: _Held) -> None:
        if held.attempts > self._max_attempts:
            raise PermanentError(f"it died {self._max_attempts} times without a word")
        self._run(held.job, self._checkpoint)

    def _checkpoint(self) -> None:
        if self._stopping.is_set():
            raise DispatchInterruptedError("the dispatcher is stopping")

    def _failed(self, held: _Held, error: Exception) -> None:
        _log.warning("dispatch.failed", job=held.job.job_id, attempt=held.attempts, error=repr(error))
        if isinstance(error, PermanentError) or held.attempts >= self._max_attempts:
            self._abandon(held.job, str(error) or type(error).__name__)
            self._close(held, state="FAILURE", error=str(error))
        else:
            self._close(held, state="PENDING", error=str(error), available_at=self._clock() + backoff(held.attempts))

    def _close(self, held: _Held, **fields: str | int | datetime) -> None:
        """Write how it went, unless the lease was lost to another runner meanwhile."""
        with answering(), write_transaction():
            Dispatch.objects.filter(pk=held.id, state="STARTED", attempts=held.attempts).update(
                leased_until=None, **fields
            )

    def _extend_forever(self) -> None:
        pause = self._lease.total_seconds() / 4
        while not (self._stopping.wait(pause) and self._threads_are_done()):
            self._extend()
        connection.close()

    def _threads_are_done(self) -> bool:
        return not self._threads[0].is_alive() and not self._held

    def _extend(self) -> None:
        held = list(self._held)
        if not held:
            return
        try:
            with answering(), write_transaction():
                Dispatch.objects.filter(pk__in=held, state="STARTED").update(leased_until=self._clock() + self._lease)
        except EngineUnavailableError as error:
            _log.warning("dispatch.heartbeat_missed", reason=str(error))
