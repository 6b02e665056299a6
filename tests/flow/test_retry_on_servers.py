"""Retrying where the queue is NATS and the state manager Redis: what a run was delivered means nothing in the next."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from headcount.domain.lease_token import verify
from headcount.domain.records import JobRef
from headcount.engines.nats.queue import NatsTaskQueue
from headcount.engines.redis.state import RedisStateManager
from headcount.flow.cancel import cancel
from headcount.flow.finalise import give_up
from headcount.flow.leases import extend, release
from headcount.flow.retry import retry
from headcount.flow.run_job import run_job
from headcount.health.audit import audit
from headcount.ports.deployment import Deployment
from headcount.store import jobs
from headcount.testing.servers import PrivateServer
from tests.flow.given import assert_saved_exactly, claimed, dispatched, failure, posted, success

pytestmark = pytest.mark.django_db
_deployments = count()


@pytest.fixture
def on_servers(deployment: Deployment, nats_server: PrivateServer, redis_server: PrivateServer) -> Iterator[Deployment]:
    """The deployment of the test, with its queue on NATS and its state on Redis."""
    name = f"retry-{next(_deployments)}"
    queue = NatsTaskQueue([nats_server.url], deployment_name=name, lease=deployment.settings.ack_wait)
    state = RedisStateManager(redis_server.url, deployment=name, identity="these tests")
    yield replace(deployment, queue=queue, state=state)
    queue.close()


def retried(deployment, job):
    following = retry(deployment, job.id)
    run_job(deployment, following.ref)
    return jobs.get(job.id)


def in_queue(deployment, job_id, run):
    depth = deployment.queue.depth(JobRef(job_id, run))
    return None if depth is None else (depth.pending, depth.in_flight)


def assert_nothing_is_left(deployment, job_id, runs):
    for run in range(1, runs + 1):
        assert in_queue(deployment, job_id, run) is None
        assert deployment.state.all_tasks_processed(JobRef(job_id, run)) is None
    assert audit(deployment, job_id).offences == ()


def test_the_next_run_is_handed_what_failed_and_knows_what_is_saved(on_servers):
    job = dispatched(on_servers, 6, failure_threshold=0.1)
    tasks = claimed(on_servers, job)
    posted(on_servers, job, [*map(success, tasks[:4]), *map(failure, tasks[4:])])
    assert jobs.get(job.id).status == "FAILURE"
    following = retried(on_servers, job)
    assert in_queue(on_servers, job.id, 2) == (2, 0)
    known = on_servers.state.snapshot(following.ref)
    assert [(stage.total, stage.done, stage.failed) for stage in known.stages] == [(6, 4, 0)] * 2
    again = claimed(on_servers, following)
    assert [task.task.ordinal for task in again] == [4, 5]
    posted(on_servers, following, [success(task) for task in again])
    assert [item.status for item in jobs.certificates(job.id)] == ["FAILURE", "SUCCESS"]
    assert_saved_exactly(job.ref, 12)
    assert_nothing_is_left(on_servers, job.id, runs=2)


def test_what_the_run_before_was_delivered_settles_nothing_in_the_next(on_servers):
    job = dispatched(on_servers, 3)
    old = claimed(on_servers, job)
    give_up(on_servers, job.ref, "nobody is left")
    following = retried(on_servers, job)
    new = claimed(on_servers, following)
    sequences = [{verify(task.token, on_servers.lease_key).sequence for task in tasks} for tasks in (old, new)]
    assert not sequences[0] & sequences[1]
    for ask in (extend, release):
        answers = ask(on_servers, job.project_id, [task.token for task in old])
        assert [answer.status for answer in answers] == ["stale"] * 3
    assert posted(on_servers, following, [failure(task) for task in old]) == ["stale"] * 3
    assert in_queue(on_servers, job.id, 2) == (0, 3)
    assert posted(on_servers, following, [success(old[0])]) == ["saved"]
    assert in_queue(on_servers, job.id, 2) == (0, 3), "the delivery of this run is not settled by that of the other"
    assert posted(on_servers, following, [success(new[0])]) == ["duplicate"]
    assert in_queue(on_servers, job.id, 2) == (0, 2)
    assert posted(on_servers, following, [success(task) for task in new[1:]]) == ["saved"] * 2
    assert [item.status for item in jobs.certificates(job.id)] == ["REVOKED", "SUCCESS"]
    assert_nothing_is_left(on_servers, job.id, runs=2)


def test_a_delivery_whose_task_came_late_from_the_run_before_is_settled_when_it_is_met(on_servers):
    job = dispatched(on_servers, 2)
    old = claimed(on_servers, job)
    give_up(on_servers, job.ref, "nobody is left")
    following = retried(on_servers, job)
    assert posted(on_servers, following, [success(old[0])]) == ["saved"]
    assert in_queue(on_servers, job.id, 2) == (2, 0)
    (task,) = claimed(on_servers, following)
    assert (task.task.ordinal, in_queue(on_servers, job.id, 2)) == (1, (0, 1))
    posted(on_servers, following, [success(task)])
    assert_nothing_is_left(on_servers, job.id, runs=2)


def test_runs_follow_each_other_without_a_trace(on_servers):
    job = dispatched(on_servers, 4, failure_threshold=0.0, fail_fast=True)
    for run in range(1, 4):
        tasks = claimed(on_servers, job)
        assert len(tasks) == 5 - run
        posted(on_servers, job, [success(tasks[0]), failure(tasks[1])])
        assert jobs.get(job.id).status == "FAILURE"
        job = retried(on_servers, job)
    cancel(on_servers, job.id)
    assert [item.status for item in jobs.certificates(job.id)] == ["FAILURE"] * 3 + ["REVOKED"]
    assert_nothing_is_left(on_servers, job.id, runs=4)
