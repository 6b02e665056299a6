"""A clock that jumps an hour under PostgreSQL, NATS, Redis and RabbitMQ, which go on in their own time.

It is the clock of every process of Headcount on a host: the web processes, the Celery workers that dispatch, and the
one that checks health.
"""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta

import pytest

from headcount.testing.waiting import wait_until
from tests.distributed import nats_admin
from tests.distributed.accidents import dispatch_in_its_middle, dispatch_workers
from tests.distributed.live import Live, live
from tests.distributed.site import LEASE_SECONDS, Servers, new_site, up
from tests.distributed.timing import Took

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("bare deployments")]

TASKS, LEFT = 300, 20
GRACE_SECONDS = 10
AN_HOUR = timedelta(hours=1)
A_WHILE = timedelta(minutes=5)


@pytest.fixture(scope="module")
def whole(private: Servers, rabbitmq_url: str) -> Iterator[Live]:
    """A whole deployment whose processes all look at one clock, which a test can turn."""
    with (
        new_site(private, HEADCOUNT_BROKER_URL=rabbitmq_url) as site,
        up(site.with_faults()) as url,
        live(site, url) as made,
    ):
        yield made


@pytest.fixture
def turnable(whole: Live) -> Iterator[Live]:
    """The deployment, whose clock is right at first and is set right in the end."""
    yield whole
    whole.site.faults.turn_clock(timedelta(0))


@pytest.mark.parametrize("by", [-AN_HOUR, AN_HOUR], ids=["back", "ahead"])
def test_a_clock_that_jumps_an_hour_in_the_middle_of_a_job_costs_no_task(
    turnable: Live, by: timedelta, took: Took
) -> None:
    job_id = turnable.submit_published(TASKS)
    assert len(turnable.api.claim(job_id, LEFT)) == LEFT, "a worker that never comes back holds some"
    with turnable.crew(job_id, hold_at=TASKS // 2) as crew:
        crew.wait_until_held()
        turnable.site.faults.turn_clock(by)
        crew.go_on()
        with took("clock turned to final"):
            turnable.wait_until_final(job_id, within=LEASE_SECONDS + GRACE_SECONDS)
    turnable.evidence.assert_exact(job_id, saved=TASKS)
    later = turnable.submit(TASKS)
    with turnable.crew(later):
        turnable.wait_until_final(later)
    turnable.evidence.assert_exact(later, saved=TASKS)
    for event in ("job.submitted", "job.published", "job.finished"):
        assert abs(turnable.evidence.age(later, event) + by) < A_WHILE, "that clock was looked at"


def test_a_clock_that_jumps_back_while_the_stream_is_lost_keeps_no_task_under_a_lease_of_the_future(
    turnable: Live, took: Took
) -> None:
    job_id = turnable.submit_published(TASKS)
    with turnable.crew(job_id, hold_at=TASKS // 2) as crew:
        crew.wait_until_held()
        assert len(turnable.api.claim(job_id, LEFT)) == LEFT, "a worker that never comes back holds some"
        turnable.site.faults.turn_clock(-AN_HOUR)
        nats_admin.delete_stream(turnable.site)
        crew.go_on()
        with took("clock turned and stream deleted to final"):
            turnable.wait_until_final(job_id)
    assert turnable.evidence.events(job_id, "repair.republish") >= 1
    assert turnable.evidence.age(job_id, "repair.republish") > AN_HOUR - A_WHILE, (
        "who checks health looks at that clock"
    )
    turnable.evidence.assert_exact(job_id, saved=TASKS)


def test_a_clock_that_jumps_back_while_a_dispatcher_dies_keeps_no_dispatch_under_a_lease_of_the_future(
    turnable: Live, took: Took
) -> None:
    with dispatch_in_its_middle(turnable, TASKS) as job_id:
        workers = dispatch_workers(turnable)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        turnable.site.faults.turn_clock(-AN_HOUR)
        wait_until(lambda: not set(workers) & set(turnable.site.processes("celery")), "the dispatcher is dead")
    with took("dispatcher killed and clock turned to final"), turnable.crew(job_id):
        turnable.wait_until_final(job_id)
    turnable.evidence.assert_exact(job_id, saved=TASKS)
    assert turnable.evidence.age(job_id, "job.collected") < A_WHILE
    assert turnable.evidence.age(job_id, "job.published") > AN_HOUR - A_WHILE, "another dispatcher looked at that clock"
