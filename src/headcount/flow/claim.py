"""Claim: hand a batch of one job's tasks to a worker, each under a lease."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from headcount.domain.lease_token import Lease, sign
from headcount.domain.records import AccountedTask, JobRecord, LeasedTask
from headcount.domain.states import WORKABLE_STATES, TaskState
from headcount.flow.account import acknowledge, bring_level
from headcount.flow.lost import fail_spent
from headcount.ports.deployment import Deployment
from headcount.ports.task_queue import Delivery
from headcount.store import jobs, ledger, registry

_TRIES = 5
"""Batches looked through before a claim answers empty; more than one is needed only where a queue holds leftovers."""


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """A task and the signed token of its lease."""

    task: LeasedTask
    token: str


@dataclass(frozen=True, slots=True)
class Claimer:
    """Who asks: a worker of a project, by the name it gives itself."""

    project_id: int
    worker: str
    pipelines: Sequence[str] = ()


def claim_any(deployment: Deployment, claimer: Claimer, limit: int) -> tuple[JobRecord, list[ClaimedTask]] | None:
    """Hand out tasks of whichever job needs the worker's pipelines most; None when no job has any ready.

    Higher priority goes first. Between jobs of one priority the order is drawn anew for each claim, which is fair in
    the mean without a word between the processes that answer claims.
    """
    note_worker(deployment, claimer)
    for job in _in_fair_order(jobs.claimable(claimer.project_id, claimer.pipelines)):
        if tasks := claim(deployment, job, limit, claimer):
            return job, tasks
    return None


def claim(deployment: Deployment, job: JobRecord, limit: int, claimer: Claimer) -> list[ClaimedTask]:
    """Hand out up to ``limit`` tasks of one job; an empty list when none is ready or the job hands out none."""
    if job.state not in WORKABLE_STATES:
        return []
    reclaim_expired(deployment)
    for _ in range(_TRIES):
        deliveries = _take_deliveries(deployment, job, limit)
        if not deliveries:
            return []
        tasks = _begin_attempts(deployment, job, deliveries, claimer)
        _settle_leftovers(deployment, job, deliveries, tasks)
        if tasks:
            return [ClaimedTask(task, _token(deployment, job, deliveries[task.ordinal], task)) for task in tasks]
    return []


def note_worker(deployment: Deployment, claimer: Claimer) -> None:
    """Keep a worker's sign of life, at most every few seconds."""
    now = deployment.clock()
    if deployment.throttles.worker_seen.allows((claimer.project_id, claimer.worker), now):
        registry.worker_seen(claimer.project_id, claimer.worker, claimer.pipelines, now)


def reclaim_expired(deployment: Deployment) -> None:
    """Make tasks ready again whose lease has ended, at most every second."""
    now = deployment.clock()
    if deployment.throttles.reclaim.allows("expired leases", now):
        deployment.queue.reclaim_expired(now)


def _in_fair_order(candidates: Sequence[JobRecord]) -> Iterator[JobRecord]:
    for _, equals in groupby(candidates, key=lambda job: job.priority):
        group = list(equals)
        random.shuffle(group)
        yield from group


def _take_deliveries(deployment: Deployment, job: JobRecord, limit: int) -> dict[int, Delivery]:
    settings = deployment.settings
    wanted = min(limit, settings.max_batch)
    taken = deployment.queue.claim(job.ref, wanted, lease=settings.ack_wait, now=deployment.clock())
    return {delivery.ordinal: delivery for delivery in taken}


def _begin_attempts(
    deployment: Deployment, job: JobRecord, deliveries: Mapping[int, Delivery], claimer: Claimer
) -> list[LeasedTask]:
    return ledger.begin_attempts(
        job.id,
        list(deliveries),
        worker=claimer.worker,
        leased_until=deployment.clock() + deployment.settings.ack_wait,
        max_attempts=deployment.settings.max_attempts,
    )


def _settle_leftovers(
    deployment: Deployment, job: JobRecord, deliveries: Mapping[int, Delivery], tasks: Sequence[LeasedTask]
) -> None:
    """Account for what the queue delivered and the ledger did not hand out: it is done already, or spent."""
    left = sorted(set(deliveries) - {task.ordinal for task in tasks})
    if not left:
        return
    fail_spent(deployment, job, left, held_until=deployment.clock())
    rows = [row for row in ledger.rows(job.id, left).values() if not row.state.is_open]
    counted = [row for row in rows if row.state is not TaskState.CANCELLED]
    acknowledge(deployment, job, [row.ordinal for row in rows if row.state is TaskState.CANCELLED], deliveries)
    done = [AccountedTask(row.task_id, row.ordinal, row.key, row.state is TaskState.FAILED) for row in counted]
    bring_level(deployment, job, done, deliveries)


def _token(deployment: Deployment, job: JobRecord, delivery: Delivery, task: LeasedTask) -> str:
    lease = Lease(job.id, job.run, task.ordinal, task.attempt, delivery.sequence)
    return sign(lease, deployment.lease_key)
