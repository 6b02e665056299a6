"""The queue in the database: a row for each task that is waiting or under a lease."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError
from django.db.models import Count, Q, QuerySet

from headcount.domain.records import JobRef
from headcount.engines.database.models import QueueMessage
from headcount.errors import EngineUnavailableError
from headcount.ports.holdings import HeldRun, Holdings
from headcount.ports.news import News
from headcount.ports.task_queue import Delivery, QueueDepth
from headcount.statements import Statements, as_json, write_transaction

_SQL = Statements("headcount.engines.database.sql")
_NOTHING = QueueDepth(0, 0, 0)
_COUNTS = {
    "pending": Count("id", filter=Q(ready=True)),
    "in_flight": Count("id", filter=Q(ready=False)),
    "redelivered": Count("id", filter=Q(deliveries__gt=1)),
}


@contextmanager
def answering() -> Iterator[None]:
    """Turn a database that does not answer into the error the ports name."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise EngineUnavailableError(f"the database does not answer: {error}") from error


class DatabaseTaskQueue:
    """Delivers from a table; a claim is one UPDATE … RETURNING.

    Leases that ended are made ready by ``reclaim_expired`` and not by the claim: with the expiry in the claim's
    predicate a claim on SQLite takes six times as long.
    """

    name = "database"
    in_database = True

    def __init__(self) -> None:
        self._news = News()

    def listen(self) -> News:
        """Return the news of this process; others are not heard."""
        return self._news

    def publish(self, job: JobRef, ordinals: Sequence[int], *, generation: int = 0) -> None:
        """Put tasks in the queue; the unique key makes a repetition a no-op, deliberate or not."""
        with answering(), write_transaction():
            _SQL.run("publish", {"job_id": job.job_id, "run": job.run, "ordinals": as_json(list(ordinals))})
        self._news.tell()

    def claim(self, job: JobRef, limit: int, *, lease: timedelta, now: datetime) -> list[Delivery]:
        """Take up to ``limit`` ready tasks, lowest ordinal first."""
        parameters = {"job_id": job.job_id, "run": job.run, "limit": limit, "leased_until": now + lease}
        with answering(), write_transaction():
            return sorted(
                (Delivery(ordinal, sequence) for ordinal, sequence in _SQL.returning("claim", parameters)),
                key=lambda delivery: delivery.ordinal,
            )

    def extend(self, job: JobRef, deliveries: Sequence[Delivery], *, lease: timedelta, now: datetime) -> None:
        """Let the leases end ``lease`` from ``now``."""
        with answering(), write_transaction():
            self._of(job, deliveries).filter(ready=False).update(leased_until=now + lease)

    def release(self, job: JobRef, deliveries: Sequence[Delivery]) -> None:
        """Make tasks ready at once."""
        with answering(), write_transaction():
            self._of(job, deliveries).update(ready=True, leased_until=None)
        self._news.tell()

    def acknowledge(self, job: JobRef, deliveries: Sequence[Delivery]) -> None:
        """Delete the tasks' messages."""
        ordinals = as_json([delivery.ordinal for delivery in deliveries])
        with answering(), write_transaction():
            _SQL.run("acknowledge", {"job_id": job.job_id, "run": job.run, "ordinals": ordinals})

    def reclaim_expired(self, now: datetime) -> int:
        """Make tasks ready whose lease has ended."""
        with answering():
            expired = QueueMessage.objects.filter(ready=False, leased_until__lt=now)
            if not expired.exists():
                return 0
            with write_transaction():
                return expired.update(ready=True, leased_until=None)

    def depth(self, job: JobRef) -> QueueDepth | None:
        """Count the run's messages; a queue in the database knows every run, if only that it has none."""
        with answering():
            counts = QueueMessage.objects.filter(job_id=job.job_id, run=job.run).aggregate(**_COUNTS)
        return QueueDepth(**counts)

    def depths(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, QueueDepth | None]:
        """Count the messages of each run, in one statement."""
        of_jobs = QueueMessage.objects.filter(job_id__in=sorted({job.job_id for job in jobs}))
        with answering():
            counted = list(of_jobs.values_list("job_id", "run").annotate(**_COUNTS).order_by())
        found = {JobRef(job_id, run): QueueDepth(*counts) for job_id, run, *counts in counted}
        return {job: found.get(job, _NOTHING) for job in jobs}

    def held_runs(self) -> Holdings:
        """Return every run with a message; rows do not tell since when."""
        with answering():
            runs = list(QueueMessage.objects.order_by("job_id", "run").values_list("job_id", "run").distinct())
        return Holdings(tuple(HeldRun(JobRef(*run)) for run in runs))

    def remove(self, job: JobRef) -> None:
        """Delete every message of a run."""
        with answering(), write_transaction():
            QueueMessage.objects.filter(job_id=job.job_id, run=job.run).delete()

    @staticmethod
    def _of(job: JobRef, deliveries: Sequence[Delivery]) -> "QuerySet[QueueMessage]":
        ordinals = [delivery.ordinal for delivery in deliveries]
        return QueueMessage.objects.filter(job_id=job.job_id, run=job.run, ordinal__in=ordinals)
