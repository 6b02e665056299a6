"""What tests of observations begin with: a job that every engine knows, and engines beyond the database."""

from datetime import timedelta
from typing import Any

import pytest

from headcount.domain.records import JobRecord, Outcome, StageProgress
from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.ports.deployment import Deployment
from headcount.ports.state_manager import Mark
from headcount.store import jobs, ledger, progress
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH, lease, make_started_job, memory_deployment
from tests.settings import HEADCOUNT

BRIEF = timedelta(milliseconds=300)
ENGINES = {"queue": "depths", "state": "snapshots", "dispatcher": "testimonies"}


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(EPOCH)


@pytest.fixture
def memory(clock: FrozenClock) -> Deployment:
    """Engines that are asked beyond the database, by a health check that is not patient."""
    return memory_deployment(HEADCOUNT.model_copy(update={"witness_timeout": BRIEF}), clock)


def running(deployment: Deployment, tasks: int = 10, **fields: Any) -> JobRecord:
    """A job whose every engine knows it: published, three tasks leased, two of them saved."""
    job = make_started_job(tasks, **fields)
    deployment.state.initialise(job.ref, tasks)
    deployment.queue.publish(job.ref, range(tasks))
    deployment.dispatcher.enqueue(job.ref)
    jobs.set_published(job.id, job.run, EPOCH)
    deliveries = deployment.queue.claim(job.ref, 3, lease=timedelta(seconds=30), now=EPOCH)
    lease(job, [0, 1, 2])
    ledger.account(job.id, [Outcome(ordinal, 1, result={}) for ordinal in (0, 1)], EPOCH)
    deployment.state.account(job.ref, [Mark(stage, n, failed=False) for n in (0, 1) for stage in STATE_MANAGER_STAGES])
    deployment.queue.acknowledge(job.ref, deliveries[:2])
    progress.write(job.ref, [StageProgress(Stage.PROCESS, tasks, 2, 0)], EPOCH)
    return jobs.get(job.id)
