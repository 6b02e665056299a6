"""Writing how jobs stand: whoever read what still stands writes it, and nobody else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from headcount.domain.patience import Watch
from headcount.domain.records import JobRecord, JobRef
from headcount.models import Job, JobPatience
from headcount.store import patience
from headcount.testing.factories import EPOCH, make_job
from headcount.testing.waiting import wait_until
from tests.flow.threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)
AtOnce = Callable[[Any], list[Any]]


def watch(job: JobRecord | JobRef, minutes: int = 0, **fields: Any) -> Watch:
    ref = job.ref if isinstance(job, JobRecord) else job
    return replace(Watch(ref, EPOCH + minutes * MINUTE, "10:2", EPOCH), **fields)


def kept(job: JobRecord) -> Watch | None:
    return patience.of([job.ref])[job.ref]


def test_what_is_kept_is_read_again() -> None:
    job, never_seen = make_job(), make_job()
    exact = watch(
        job,
        moved_at=EPOCH + timedelta(microseconds=1),
        watched_at=EPOCH + timedelta(microseconds=2),
        idle=timedelta(days=400, microseconds=3),
        unserved=timedelta(seconds=1.5),
    )
    patience.keep([(None, exact)])
    assert patience.of([job.ref, never_seen.ref]) == {job.ref: exact, never_seen.ref: None}
    later = watch(JobRef(job.id, 2), 5, mark="x" * 200)
    patience.keep([(exact, later)])
    assert kept(job) == later


def test_nothing_to_keep_asks_the_database_for_nothing(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        patience.keep([])


@pytest.mark.parametrize("read", [None, -1], ids=["thought it was the first", "read what stands no more"])
def test_whoever_comes_too_late_changes_nothing(read: int | None) -> None:
    job = make_job()
    stands = watch(job, 1)
    patience.keep([(None, stands)])
    patience.keep([(None if read is None else watch(job, read), watch(job, 2, idle=MINUTE))])
    assert kept(job) == stands


def test_a_job_that_is_gone_keeps_nobody_from_being_written() -> None:
    jobs = [make_job() for _ in range(3)]
    patience.keep([(None, watch(job)) for job in jobs[:2]])
    Job.objects.filter(pk__in=[jobs[0].id, jobs[2].id]).delete()
    patience.keep([*((watch(job), watch(job, 1)) for job in jobs[:2]), (None, watch(jobs[2]))])
    assert [(row.job_id, row.watched_at) for row in JobPatience.objects.all()] == [(jobs[1].id, EPOCH + MINUTE)]


def test_a_page_is_written_in_one_statement_or_two(django_assert_max_num_queries: Any) -> None:
    jobs = [make_job() for _ in range(60)]
    with django_assert_max_num_queries(4):
        patience.keep([(None, watch(job)) for job in jobs])
    with django_assert_max_num_queries(4):
        patience.keep([(watch(job), watch(job, 1)) for job in jobs])
    assert JobPatience.objects.filter(watched_at=EPOCH + MINUTE).count() == 60


@pytest.mark.parametrize("fields", [{"idle_seconds": -1}, {"unserved_seconds": -0.1}, {"run": 0}])
def test_the_database_takes_no_patience_that_cannot_be(fields: dict[str, float]) -> None:
    job = make_job()
    patience.keep([(None, watch(job))])
    with pytest.raises(IntegrityError), transaction.atomic():
        JobPatience.objects.filter(pk=job.id).update(**fields)


def test_two_loops_at_once_age_no_job_twice(at_once: AtOnce) -> None:
    """Each round both read the same, and each counts the time since then; the second to write must not add its own."""
    jobs = [make_job() for _ in range(20)]
    patience.keep([(None, watch(job)) for job in jobs])

    def look(minutes: int, seed: int) -> None:
        found = list(patience.of([job.ref for job in jobs]).values())
        Random(seed).shuffle(found)
        now = EPOCH + minutes * MINUTE
        patience.keep(
            [(old, replace(old, watched_at=now, idle=old.idle + (now - old.watched_at))) for old in found if old]
        )

    for minutes in range(1, 16, 2):
        at_once([lambda m=minutes: look(m, 1), lambda m=minutes: look(m + 1, 2)])
        for job in jobs:
            stands = kept(job)
            assert stands is not None
            assert stands.idle == stands.watched_at - EPOCH


@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_whoever_waits_for_another_writer_looks_again_before_it_writes() -> None:
    """One saw the job move. The other read the same before, waits for its lock, and must not take that back."""
    job = make_job()
    old = watch(job, idle=MINUTE)
    patience.keep([(None, old)])
    moved = replace(old, watched_at=EPOCH + MINUTE, mark="10:3", moved_at=EPOCH + MINUTE, idle=timedelta(0))
    with transaction.atomic():
        patience.keep([(old, moved)])
        waiting = in_thread(lambda: patience.keep([(old, watch(job, 2, idle=3 * MINUTE))]))
        wait_until(lambda: _waiting_for_a_lock() == 1, "the second writer waits for the first")
    waiting.result(60)
    assert kept(job) == moved


def _waiting_for_a_lock() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


def test_many_first_looks_at_once_write_one_row(at_once: AtOnce) -> None:
    jobs = [make_job() for _ in range(10)]

    def write(minutes: int) -> None:
        order = jobs if minutes % 2 else jobs[::-1]
        patience.keep([(None, watch(job, minutes)) for job in order])

    at_once([lambda n=n: write(n) for n in range(6)])
    assert JobPatience.objects.count() == 10
