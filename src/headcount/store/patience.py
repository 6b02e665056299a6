"""Patience with jobs: how each stood when the health loop last looked, read and written a page at a time."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from headcount.domain.patience import Watch
from headcount.domain.records import JobRef
from headcount.models import JobPatience
from headcount.statements import Statements, as_json, timestamp_writer, write_transaction

_SQL = Statements("headcount.store.sql")


def of(jobs: Sequence[JobRef]) -> Mapping[JobRef, Watch | None]:
    """Return how each job stood when it was last looked at, maybe in an earlier run; None for the first look.

    Raises:
        ValueError: a row holds a time that is none.
    """
    rows = JobPatience.objects.filter(job_id__in=[job.job_id for job in jobs])
    found = {row.job_id: _watch(row) for row in rows}
    return {job: found.get(job.job_id) for job in jobs}


def keep(changes: Iterable[tuple[Watch | None, Watch]]) -> None:
    """Write how jobs stand now, given with what was read of each before; None where nothing was.

    Where somebody else wrote in between, their word stays: two loops at once age no job twice, and neither takes back
    that the other saw it move. A job that was deleted meanwhile is left out.
    """
    write = timestamp_writer()
    items = [
        [
            now.job.job_id,
            now.job.run,
            write(now.watched_at),
            now.mark,
            write(now.moved_at),
            now.idle.total_seconds(),
            now.unserved.total_seconds(),
            write(before.watched_at) if before else None,
        ]
        for before, now in changes
    ]
    if items:
        with write_transaction():
            _SQL.run("keep_patience", {"items": as_json(items)})


def _watch(row: JobPatience) -> Watch:
    if not (row.watched_at and row.moved_at):  # Django reads a text that is no time from SQLite as None.
        raise ValueError(f"the patience with job {row.job_id} holds a time that cannot be read")
    return Watch(
        job=JobRef(row.job_id, row.run),
        watched_at=row.watched_at,
        mark=row.mark,
        moved_at=row.moved_at,
        idle=timedelta(seconds=row.idle_seconds),
        unserved=timedelta(seconds=row.unserved_seconds),
    )
