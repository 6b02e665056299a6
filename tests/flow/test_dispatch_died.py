"""A job whose dispatch was lost or ended is taken up again, and one whose dispatch lives is left alone."""

from datetime import timedelta

import pytest

from headcount.domain.records import JobRef
from headcount.domain.states import JobState
from headcount.engines.database.models import Dispatch
from headcount.health.loop import jobs_health_check
from headcount.ports.deployment import Deployment
from headcount.store import events, jobs
from headcount.testing.clock import FrozenClock
from headcount.wiring import build_runner
from tests.flow.given import submitted

pytestmark = pytest.mark.django_db(transaction=True)


def resumptions(job: JobRef) -> int:
    return sum(event.name == "repair.resume_dispatch" for event in events.of(job.job_id))


def test_a_dispatch_that_was_lost_is_made_anew(deployment: Deployment, clock: FrozenClock) -> None:
    job = submitted(deployment, 3)
    Dispatch.objects.all().delete()
    clock.advance(timedelta(minutes=1))
    assert jobs_health_check(deployment)["dispatch_died"].fixed == 1
    assert build_runner(deployment).run_one()
    assert jobs.get(job.id).published
    assert resumptions(job.ref) == 1


def test_a_dispatch_that_failed_without_ending_its_job_is_resumed(deployment: Deployment, clock: FrozenClock) -> None:
    job = submitted(deployment, 3)
    Dispatch.objects.update(state="FAILURE", error="the abandoning died too")
    clock.advance(timedelta(minutes=1))
    assert jobs_health_check(deployment)["dispatch_died"].fixed == 1
    assert build_runner(deployment).run_one()
    assert jobs.status_of(job.id) is JobState.STARTED


def test_a_dispatch_that_waits_is_left_alone(deployment: Deployment, clock: FrozenClock) -> None:
    job = submitted(deployment, 3)
    clock.advance(timedelta(minutes=1))
    assert jobs_health_check(deployment)["dispatch_died"].fixed == 0
    assert resumptions(job.ref) == 0


def test_a_published_job_needs_no_dispatcher(deployment: Deployment, clock: FrozenClock) -> None:
    job = submitted(deployment, 3)
    build_runner(deployment).run_one()
    clock.advance(timedelta(minutes=1))
    assert jobs_health_check(deployment)["dispatch_died"].checked == 0
    assert resumptions(job.ref) == 0
