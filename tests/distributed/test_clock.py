"""A clock that jumps back an hour under PostgreSQL, NATS and Redis, which go on in their own time."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.distributed import nats_admin
from tests.distributed.live import Live, live
from tests.distributed.site import LEASE_SECONDS, Site, serve
from tests.distributed.timing import Took

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("bare deployments")]

TASKS, LEFT = 300, 20
GRACE_SECONDS = 10
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def turnable(bare: Site) -> Iterator[Live]:
    """A deployment whose web server, dispatcher and health loop all look at one clock, which a test can turn."""
    with serve(bare) as url, live(bare, url) as made:
        yield made


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
    turnable.evidence.assert_exact(job_id, saved=TASKS)
