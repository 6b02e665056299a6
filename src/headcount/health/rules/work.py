"""Published tasks: lost, spent, handed out again and again, held by a worker that hangs, waiting for a worker."""

from collections.abc import Iterator

from headcount.health.finding import Condition, Finding, Remedy
from headcount.health.observation import LedgerTestimony
from headcount.health.rules.case import Case
from headcount.health.rules.standstill import why_nothing_can_finish
from headcount.health.rules.wording import are, counted, later, span, tasks
from headcount.ports.task_queue import QueueDepth

_MOST_INNOCENT_ATTEMPTS = 2
"""A worker that dies takes its tasks to a second attempt; a third one says that it is the task."""


def spent_tasks(case: Case) -> Iterator[Finding]:
    """Tasks that were handed out as often as the policy allows and that nobody holds."""
    ledger = case.ledger
    if ledger is None or not ledger.spent:
        return
    yield case.finding(
        Condition.SPENT_TASKS,
        Remedy.FAIL_SPENT,
        f"{are(ledger.spent, 'task')} open though handed out {case.policy.max_attempts} times without a result.",
        next_step="They fail as lost; a job whose tasks are then all accounted for gets its verdict.",
    )


def lost_tasks(case: Case) -> Iterator[Finding]:
    """Open tasks that no lease covers and that the queue will not deliver."""
    ledger, queue = case.ledger, case.queue
    if ledger is None or queue is None or not case.job.published:
        return
    missing = _missing(case, ledger, queue)
    if missing <= 0:
        return
    yield _lost(case, ledger, queue, missing)
    if _was_acknowledged(case, ledger):
        yield _swallowed(case)


def _missing(case: Case, ledger: LedgerTestimony, queue: QueueDepth) -> int:
    """Return how many tasks that can still be handed out have no message, when those under a lease have theirs.

    A spent task needs no message, and may have one: it is never counted as missing.
    """
    to_deliver = queue.pending + max(0, queue.in_flight - case.held)
    return min(ledger.unheld - to_deliver, ledger.unheld - ledger.spent)


def _lost(case: Case, ledger: LedgerTestimony, queue: QueueDepth, missing: int) -> Finding:
    holds = (
        "knows nothing of the run"
        if case.observation.queue is None
        else f"holds {counted(queue.pending, 'message')} and {queue.in_flight} under a lease"
    )
    explanation = f"{are(ledger.counts.open, 'task')} open, {case.held} of them held, but the queue {holds}."
    if why_nothing_can_finish(case):
        return case.report(Condition.LOST_TASKS, explanation)
    next_step = f"{tasks(missing)} or more are put in the queue again."
    return case.finding(Condition.LOST_TASKS, Remedy.REPUBLISH, explanation, next_step=next_step)


def _was_acknowledged(case: Case, ledger: LedgerTestimony) -> bool:
    """A queue that knows the run and is drained has lost every open task, one that was handed out among them."""
    said = case.observation.queue
    is_drained = isinstance(said, QueueDepth) and not said.pending and not said.in_flight
    return is_drained and not case.is_held and ledger.most_attempts > 0


def _swallowed(case: Case) -> Finding:
    return case.report(
        Condition.RESULT_SWALLOWED,
        "The queue is drained after open tasks were handed out: what workers answered was acknowledged, or dropped,"
        " and no result is in the ledger.",
        next_step="The tasks are handed out again; a result counts once, whoever posts it.",
        due=case.next_look,
    )


def redelivery_climbing(case: Case) -> Iterator[Finding]:
    """A task that is handed out again and again: whoever takes it does not come back."""
    ledger = case.ledger
    if ledger is None or not ledger.counts.open or not _is_climbing(case, ledger):
        return
    redelivered = f", and the queue has delivered {tasks(case.queue.redelivered)} again" if case.queue else ""
    yield case.report(
        Condition.REDELIVERY_CLIMBING,
        f"An open task has been handed out {ledger.most_attempts} of {case.policy.max_attempts} times without a"
        f" result{redelivered}: it may crash the workers that take it.",
        next_step=f"A task fails as lost after {case.policy.max_attempts} attempts; the others go on.",
        command=f"headcount show {case.job.id} --log",
    )


def _is_climbing(case: Case, ledger: LedgerTestimony) -> bool:
    innocent = min(_MOST_INNOCENT_ATTEMPTS, case.policy.max_attempts - 1)
    again = case.queue is not None and case.queue.redelivered > 0
    return ledger.most_attempts > innocent or (again and ledger.most_attempts >= _MOST_INNOCENT_ATTEMPTS)


def hung_worker(case: Case) -> Iterator[Finding]:
    """Leases that nobody extends any more while nothing comes back."""
    ledger = case.ledger
    if ledger is None or not ledger.counts.leased or case.standstill <= case.policy.ack_wait:
        return
    ends_at = ledger.leases_end_at
    if ends_at is not None and ends_at - case.now > case.policy.ack_wait / 2:
        return
    until = f"the last lease ends at {ends_at:%H:%M:%S}" if ends_at and ends_at > case.now else "their leases are over"
    yield case.report(
        Condition.HUNG_WORKER,
        f"{are(ledger.counts.leased, 'task')} in the hands of workers that neither post nor extend for"
        f" {span(case.standstill)}; {until}.",
        next_step="A task whose lease is over is handed to the next worker that claims.",
        due=max(ends_at or case.now, case.now),
    )


def waiting_for_workers(case: Case) -> Iterator[Finding]:
    """Tasks that are ready, and nobody who offers their pipeline."""
    ledger = case.ledger
    if ledger is None or not case.job.published or not ledger.unheld:
        return
    if case.workers_seen != 0 or case.is_held or case.is_without_workers:
        return
    waited = case.observation.patience.without_workers
    limit = case.policy.revoke_without_workers_after
    yield case.report(
        Condition.WAITING_FOR_WORKERS,
        f"{tasks(ledger.unheld)} of {ledger.counts.total} wait, and no worker of pipeline {case.job.pipeline!r} was"
        " seen lately.",
        next_step=f"The first worker that claims gets them; without one for {span(limit)} the job ends as REVOKED.",
        due=later(case.now, max(limit - waited, limit - limit)),
        command="headcount worker --server URL --token TOKEN --pipeline MODULE:FUNCTION",
    )
