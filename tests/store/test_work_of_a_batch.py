"""What a batch costs the database does not grow with its job: no statement reads the tasks of others."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pytest
from django.db import connection

from headcount.domain.records import JobRecord, Outcome
from headcount.store import ledger
from headcount.testing.factories import EPOCH, make_started_job

pytestmark = pytest.mark.django_db

SMALL, LARGE = 100, 20_000
"""PostgreSQL that has no statistics yet reads the whole of a job where the table holds a few thousand rows, and takes
them for fewer than the batch; from ten thousand on it does not."""

BATCH = list(range(40, 60))
HOUR = timedelta(hours=1)


def begin(job: JobRecord) -> int:
    leased_until = EPOCH + HOUR
    return len(ledger.begin_attempts(job.id, BATCH, worker="w1", leased_until=leased_until, max_attempts=5))


def extend(job: JobRecord) -> int:
    return len(ledger.extend_leases(job.id, [(ordinal, 1) for ordinal in BATCH], EPOCH + 2 * HOUR))


def release(job: JobRecord) -> int:
    return len(ledger.release_leases(job.id, [(ordinal, 1) for ordinal in BATCH]))


def save(job: JobRecord) -> int:
    return len(ledger.account(job.id, [Outcome(ordinal, 1, result="found") for ordinal in BATCH], EPOCH))


def fail(job: JobRecord) -> int:
    return len(ledger.account(job.id, [Outcome(ordinal, 1, error="broken") for ordinal in BATCH], EPOCH))


def fail_spent(job: JobRecord) -> int:
    times = {"held_until": EPOCH + 2 * HOUR, "latest": EPOCH + 3 * HOUR, "now": EPOCH}
    return len(ledger.fail_spent(job.id, BATCH, max_attempts=1, **times))


def look_up(job: JobRecord) -> int:
    return len(ledger.rows(job.id, BATCH))


STATEMENTS = [begin, extend, release, save, fail, fail_spent]


@pytest.mark.parametrize(
    ("act", "has_statistics"), [*product(STATEMENTS, [True, False]), pytest.param(look_up, True, id="look_up")]
)
def test_no_statement_on_a_batch_reads_the_rest_of_its_job(act: Callable[[JobRecord], int], has_statistics: bool):
    work = {size: work_of(act, size, has_statistics=has_statistics) for size in (SMALL, LARGE)}
    assert 0 < work[LARGE] <= 1.5 * work[SMALL]


def work_of(act: Callable[[JobRecord], int], size: int, *, has_statistics: bool) -> int:
    forget_statistics()
    job = make_started_job(size)
    if act is not begin:
        begin(job)
    if has_statistics:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE headcount_task")
    measured = rows_read if connection.vendor == "postgresql" else steps_taken
    return measured(lambda: act(job))


def forget_statistics() -> None:
    """Have PostgreSQL know nothing of the table: how many rows it has outlives a test that is rolled back."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("TRUNCATE headcount_task CASCADE")


def rows_read(act: Callable[[], int]) -> int:
    """How many rows of the ledger PostgreSQL looks at for it."""
    before = rows_read_so_far()
    assert act() == len(BATCH)
    return rows_read_so_far() - before


def rows_read_so_far() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'headcount_task'"
        )
        return int(cursor.fetchone()[0])


def steps_taken(act: Callable[[], int]) -> int:
    """How many instructions SQLite takes for it, in tens."""
    taken: list[None] = []
    connection.connection.set_progress_handler(lambda: taken.append(None), 10)
    try:
        assert act() == len(BATCH)
    finally:
        connection.connection.set_progress_handler(None, 10)
    return len(taken)
