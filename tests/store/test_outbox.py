"""What is to be done because a transaction committed: written once, handed out until it is done."""

import pytest
from django.db import IntegrityError, transaction

from headcount.domain.records import JobRef
from headcount.models import OutboxEntry
from headcount.store import outbox
from headcount.testing.factories import EPOCH, make_job
from tests.store.conftest import AtOnce

pytestmark = pytest.mark.django_db


def test_an_errand_is_handed_out_until_it_is_done() -> None:
    job = make_job()
    outbox.add(job.ref, outbox.DISPATCH, EPOCH)
    errand = outbox.undelivered(job=job.ref)[0]
    assert (errand.topic, errand.job) == (outbox.DISPATCH, job.ref)
    assert list(outbox.undelivered()) == [errand]
    outbox.mark_delivered(errand, EPOCH)
    assert list(outbox.undelivered()) == []


def test_the_first_delivery_is_the_one_that_is_noted() -> None:
    job = make_job()
    outbox.add(job.ref, outbox.DISPATCH, EPOCH)
    errand = outbox.undelivered()[0]
    outbox.mark_delivered(errand, EPOCH)
    outbox.mark_delivered(errand, EPOCH.replace(year=2030))
    assert OutboxEntry.objects.get(pk=errand.id).delivered_at == EPOCH


def test_an_errand_is_written_once_for_each_run() -> None:
    job = make_job()
    outbox.add(job.ref, outbox.CLEAN_UP, EPOCH)
    with pytest.raises(IntegrityError), transaction.atomic():
        outbox.add(job.ref, outbox.CLEAN_UP, EPOCH)
    outbox.mark_delivered(outbox.undelivered()[0], EPOCH)
    with pytest.raises(IntegrityError), transaction.atomic():
        outbox.add(job.ref, outbox.CLEAN_UP, EPOCH)
    outbox.add(JobRef(job.id, 2), outbox.CLEAN_UP, EPOCH)
    outbox.add(job.ref, outbox.DISPATCH, EPOCH)
    assert OutboxEntry.objects.filter(job_id=job.id).count() == 3


def test_the_oldest_errands_come_first_and_no_more_than_asked() -> None:
    jobs = [make_job() for _ in range(4)]
    for job in jobs:
        outbox.add(job.ref, outbox.DISPATCH, EPOCH)
    assert [errand.job for errand in outbox.undelivered(limit=3)] == [job.ref for job in jobs[:3]]
    assert [errand.job for errand in outbox.undelivered(job=jobs[3].ref)] == [jobs[3].ref]
    assert list(outbox.undelivered(job=JobRef(jobs[3].id, 2))) == []


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_writes_the_errand(at_once: AtOnce) -> None:
    job = make_job()

    def add() -> bool:
        try:
            outbox.add(job.ref, outbox.CLEAN_UP, EPOCH)
        except IntegrityError:
            return False
        return True

    assert at_once([add] * 6).count(True) == 1
