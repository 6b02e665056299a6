"""Receive: take a batch of posted results, account each, and answer for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headcount.domain.judgement import one_per_task, storable_reason
from headcount.domain.lease_token import Lease, verify
from headcount.domain.records import Answer, JobRecord, Outcome
from headcount.domain.states import AnswerStatus
from headcount.errors import BadInputError, InvalidLeaseError, PermanentError, TemporaryError
from headcount.flow.account import account
from headcount.flow.save import Saved
from headcount.ports.deployment import Deployment
from headcount.ports.job_kind import JobKind
from headcount.ports.task_queue import Delivery
from headcount.store import jobs


@dataclass(frozen=True, slots=True)
class _Understood:
    """A posted result with a valid lease; ``complaint`` says what is wrong with its content, if anything is."""

    reply_subject: str
    lease: Lease
    outcome: Outcome
    complaint: str | None = None


def receive(deployment: Deployment, job_id: int, project_id: int, posted: Sequence[Any]) -> list[Answer]:
    """Account a batch of results; returns one answer for each, in order.

    Args:
        deployment: the engines.
        job_id: the job the results are posted to.
        project_id: the project the caller's token is bound to.
        posted: ``{"reply_subject": token, "result": {...}}`` each; whatever else it is gets rejected by itself.

    Raises:
        NotFoundError: there is no such job in the project.
        EngineUnavailableError: the database does not answer; nothing was accounted, the same post may be repeated.
    """
    job = jobs.get(job_id, project_id)
    items = [_understand(deployment, job, item) for item in posted]
    understood = [item for item in items if isinstance(item, _Understood)]
    chosen = one_per_task(item.outcome for item in understood)
    deliveries = _deliveries(job, understood)
    saved = account(deployment, job, list(chosen.values()), deliveries) if chosen else Saved()
    keys = {task.ordinal: task.key for task in [*saved.newly, *saved.behind]}
    return [item if isinstance(item, Answer) else _answer(item, chosen, saved, keys) for item in items]


def _deliveries(job: JobRecord, understood: Sequence[_Understood]) -> dict[int, Delivery]:
    """What another run was delivered means nothing to the queue of this one."""
    leases = [item.lease for item in understood if item.lease.run == job.run]
    return {lease.ordinal: Delivery(lease.ordinal, lease.sequence) for lease in leases}


def _understand(deployment: Deployment, job: JobRecord, item: Any) -> _Understood | Answer:
    subject = item.get("reply_subject") if isinstance(item, Mapping) else None
    if not isinstance(subject, str):
        return Answer("", AnswerStatus.REJECTED, reason="each result needs its reply_subject, as it came with the task")
    try:
        lease = _lease(deployment, job, subject)
    except InvalidLeaseError as error:
        return Answer(subject, AnswerStatus.REJECTED, reason=str(error))
    outcome, complaint = outcome_of(deployment.kind(job.kind), lease, item.get("result"))
    return _Understood(subject, lease, outcome, complaint)


def _lease(deployment: Deployment, job: JobRecord, subject: str) -> Lease:
    lease = verify(subject, deployment.lease_key)
    if lease.job_id != job.id:
        raise InvalidLeaseError(f"the lease token is of job {lease.job_id}, it was posted to job {job.id}")
    return lease


def outcome_of(kind: JobKind, lease: Lease, raw: Any) -> tuple[Outcome, str | None]:
    """Return what is to be accounted for a posted result, and what is wrong with its content, if anything is."""
    try:
        return _parsed_outcome(kind, lease, raw), None
    except TemporaryError:
        raise
    except Exception as error:  # noqa: BLE001 - a result that breaks its kind is that task's failure, not the batch's
        reason = str(error) if isinstance(error, PermanentError) else repr(error)
        complaint = storable_reason(f"the result does not fit: {reason}")
        return Outcome(lease.ordinal, lease.attempt, error=complaint), complaint


def _parsed_outcome(kind: JobKind, lease: Lease, raw: Any) -> Outcome:
    if not isinstance(raw, Mapping):
        raise BadInputError("the result is not a JSON object")
    parsed = kind.parse(raw)
    named_key = None if parsed.named_key is None else storable_reason(parsed.named_key)
    if parsed.error is None:
        return Outcome(lease.ordinal, lease.attempt, result=parsed.result, named_key=named_key)
    reason = storable_reason(parsed.error) or "the worker gave no reason"
    return Outcome(lease.ordinal, lease.attempt, error=reason, named_key=named_key)


def _answer(item: _Understood, chosen: Mapping[int, Outcome], saved: Saved, keys: Mapping[int, str]) -> Answer:
    ordinal = item.lease.ordinal
    key = keys.get(ordinal)
    twin = item.outcome is not chosen[ordinal]
    if ordinal in saved.refused:
        status, reason = saved.refused[ordinal]
        said = f"another result for this task in the same request was tried instead: {reason}" if twin else reason
        return Answer(item.reply_subject, status, key, said)
    if twin:
        return Answer(
            item.reply_subject, AnswerStatus.DUPLICATE, key, "the same request has another result for this task"
        )
    complaint = saved.poison.get(ordinal, item.complaint)
    if complaint is not None:
        return Answer(item.reply_subject, AnswerStatus.REJECTED, key, f"{complaint}; recorded as this task's failure")
    return Answer(item.reply_subject, AnswerStatus.SAVED, key)
