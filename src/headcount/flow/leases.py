"""Leases: extend or release what a worker holds, if it still holds it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from headcount.domain.lease_token import Lease, verify
from headcount.domain.records import JobRecord, LeaseAnswer, TaskRow
from headcount.domain.states import WORKABLE_STATES, LeaseStatus, TaskState
from headcount.errors import InvalidLeaseError, NotFoundError
from headcount.ports.deployment import Deployment
from headcount.ports.task_queue import Delivery
from headcount.store import jobs, ledger

_Fence = tuple[int, int]
"""A task's ordinal and the attempt a lease of it is of: whether that lease is the current one."""

_Change = Callable[[JobRecord, Sequence[Lease]], set[_Fence]]


def extend(deployment: Deployment, project_id: int, tokens: Sequence[str]) -> list[LeaseAnswer]:
    """Let leases last another full term from now; answers for each token, in order.

    A worker learns here that a lease is no longer its own (stale), that its task is done, or the job cancelled.
    """

    def change(job: JobRecord, leases: Sequence[Lease]) -> set[_Fence]:
        now, term = deployment.clock(), deployment.settings.ack_wait
        current = ledger.extend_leases(job.id, map(_fence, leases), now + term)
        deployment.queue.extend(job.ref, _deliveries(job, leases, current), lease=term, now=now)
        return current

    return _each(deployment, project_id, tokens, change, LeaseStatus.EXTENDED)


def release(deployment: Deployment, project_id: int, tokens: Sequence[str]) -> list[LeaseAnswer]:
    """Give tasks back for immediate redelivery; answers for each token, in order."""

    def change(job: JobRecord, leases: Sequence[Lease]) -> set[_Fence]:
        current = ledger.release_leases(job.id, map(_fence, leases))
        deployment.queue.release(job.ref, _deliveries(job, leases, current))
        return current

    return _each(deployment, project_id, tokens, change, LeaseStatus.RELEASED)


def _each(
    deployment: Deployment, project_id: int, tokens: Sequence[str], change: _Change, changed: LeaseStatus
) -> list[LeaseAnswer]:
    answers: dict[str, LeaseAnswer] = {}
    by_job: dict[int, dict[str, Lease]] = defaultdict(dict)
    for token in tokens:
        try:
            lease = verify(token, deployment.lease_key)
            by_job[lease.job_id][token] = lease
        except InvalidLeaseError as error:
            answers[token] = LeaseAnswer(token, LeaseStatus.REJECTED, str(error))
    for job_id, leases in by_job.items():
        answers |= {answer.reply_subject: answer for answer in _of_job(job_id, project_id, leases, change, changed)}
    return [answers[token] for token in tokens]


def _of_job(
    job_id: int, project_id: int, leases: Mapping[str, Lease], change: _Change, changed: LeaseStatus
) -> Iterable[LeaseAnswer]:
    try:
        job = jobs.get(job_id, project_id)
    except NotFoundError as error:
        return [LeaseAnswer(token, LeaseStatus.REJECTED, str(error)) for token in leases]
    if job.state not in WORKABLE_STATES:
        reason = f"the job is {job.status}"
        return [LeaseAnswer(token, LeaseStatus.CANCELLED, reason) for token in leases]
    current = change(job, list(leases.values()))
    rows = ledger.rows(job.id, [lease.ordinal for lease in leases.values() if _fence(lease) not in current])
    return [_answer(token, lease, current, rows, changed) for token, lease in leases.items()]


def _answer(
    token: str, lease: Lease, current: set[_Fence], rows: Mapping[int, TaskRow], changed: LeaseStatus
) -> LeaseAnswer:
    if _fence(lease) in current:
        return LeaseAnswer(token, changed)
    row = rows.get(lease.ordinal)
    if row is None:
        return LeaseAnswer(token, LeaseStatus.REJECTED, "this job has no such task")
    if row.state is TaskState.CANCELLED:
        return LeaseAnswer(token, LeaseStatus.CANCELLED, "the task was cancelled")
    if not row.state.is_open:
        return LeaseAnswer(token, LeaseStatus.DONE, f"the task is already {row.state}")
    return LeaseAnswer(token, LeaseStatus.STALE, f"the lease is of attempt {lease.attempt}, now is {row.attempt}")


def _fence(lease: Lease) -> _Fence:
    return lease.ordinal, lease.attempt


def _deliveries(job: JobRecord, leases: Sequence[Lease], current: set[_Fence]) -> list[Delivery]:
    """What another run was delivered means nothing to the queue of this one."""
    held = [lease for lease in leases if _fence(lease) in current and lease.run == job.run]
    return [Delivery(lease.ordinal, lease.sequence) for lease in held]
