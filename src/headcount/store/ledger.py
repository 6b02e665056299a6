"""The ledger: the durable account of every task. Each function is one set-based statement."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from django.db.models import F, Max, QuerySet

from headcount.domain.records import AccountedTask, LeasedTask, Outcome, TaskCounts, TaskRow, TaskSpec
from headcount.domain.states import OPEN_TASK_STATES, TaskState
from headcount.models import Task
from headcount.statements import Statements, as_json, from_json

_SQL = Statements("headcount.store.sql")
_STREAM_ROWS = 2000


def collect(job_id: int, start: int, specs: Sequence[TaskSpec]) -> int:
    """Write new tasks, with ordinals from ``start`` on; returns how many.

    Raises:
        IntegrityError: an ordinal or a key is there already, or a key comes twice; nothing is written.
    """
    new = (TaskState.WAITING, 0, 0, "")
    rows = ((job_id, ordinal, spec.key, as_json(dict(spec.payload)), *new) for ordinal, spec in enumerate(specs, start))
    return _SQL.write_rows("collect_tasks", rows)


def size(job_id: int) -> int:
    """Return how many tasks are collected so far."""
    last = Task.objects.filter(job_id=job_id).aggregate(last=Max("ordinal"))["last"]
    return 0 if last is None else int(last) + 1


def known_keys(job_id: int, keys: Sequence[str]) -> set[str]:
    """Return those of ``keys`` that the ledger holds already."""
    return set(Task.objects.filter(job_id=job_id, key__in=keys).values_list("key", flat=True))


def begin_attempts(
    job_id: int, ordinals: Sequence[int], *, worker: str, leased_until: datetime, max_attempts: int
) -> list[LeasedTask]:
    """Hand tasks to a worker: count the attempt and note the lease; those accounted or spent are left out."""
    rows = _SQL.returning(
        "begin_attempts",
        {
            "job_id": job_id,
            "ordinals": as_json(list(ordinals)),
            "worker": worker,
            "leased_until": leased_until,
            "max_attempts": max_attempts,
        },
    )
    return sorted(
        (LeasedTask(ordinal, key, from_json(payload), attempt) for ordinal, key, payload, attempt in rows),
        key=lambda task: task.ordinal,
    )


def extend_leases(job_id: int, leases: Iterable[tuple[int, int]], leased_until: datetime) -> set[tuple[int, int]]:
    """Let leases, given as (ordinal, attempt), end later; returns those that were current."""
    parameters = {"job_id": job_id, "leases": as_json(list(leases)), "leased_until": leased_until}
    return {(ordinal, attempt) for ordinal, attempt in _SQL.returning("extend_leases", parameters)}


def release_leases(job_id: int, leases: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Take leases, given as (ordinal, attempt), back; returns those that were current."""
    parameters = {"job_id": job_id, "leases": as_json(list(leases))}
    return {(ordinal, attempt) for ordinal, attempt in _SQL.returning("release_leases", parameters)}


def account(job_id: int, outcomes: Iterable[Outcome], now: datetime) -> list[AccountedTask]:
    """Account tasks that are still open: saved, or failed with a reason; returns those that were.

    A failure counts only from the current attempt, a success from any; neither where it names another task's key.
    """
    items = [[item.ordinal, item.attempt, item.error, item.named_key] for item in outcomes]
    rows = _SQL.returning("account_tasks", {"job_id": job_id, "items": as_json(items), "now": now})
    return [AccountedTask(task_id, ordinal, key, bool(failed)) for task_id, ordinal, key, failed in rows]


def fail_spent(
    job_id: int, ordinals: Sequence[int], *, max_attempts: int, held_until: datetime, latest: datetime, now: datetime
) -> list[AccountedTask]:
    """Fail tasks whose attempts are spent and whose lease, if any, is no running one; returns those.

    A lease runs that ends at ``held_until`` or later, and not after ``latest``, where no lease ends.
    """
    error = f"lost: handed out {max_attempts} times and no result came back"
    parameters = {
        "job_id": job_id,
        "ordinals": as_json(list(ordinals)),
        "max_attempts": max_attempts,
        "error": error,
        "held_until": held_until,
        "latest": latest,
        "now": now,
    }
    rows = _SQL.returning("fail_spent_tasks", parameters)
    return [AccountedTask(task_id, ordinal, key, failed=True) for task_id, ordinal, key, _ in rows]


def cancel_open(job_id: int, now: datetime) -> int:
    """Cancel every open task; returns how many there were."""
    return _SQL.run("cancel_open_tasks", {"job_id": job_id, "now": now})


def reopen(job_id: int, states: Iterable[TaskState]) -> int:
    """Make every task in these states waiting for another run; returns how many there were.

    The attempts so far are forgiven, and the next number is passed over: no lease of the run before is the current one
    any more, so that what it has to say of a failure does not count.
    """
    return _SQL.run("reopen_tasks", {"job_id": job_id, "states": as_json(sorted(states))})


def fail_open(job_id: int, error: str, now: datetime) -> int:
    """Fail every open task, with one reason for all; returns how many there were."""
    return Task.objects.filter(job_id=job_id, state__in=OPEN_TASK_STATES).update(
        state=TaskState.FAILED, error=error, accounted_at=now, leased_until=None
    )


def counts(job_id: int) -> TaskCounts:
    """Count the tasks by state, from the rows themselves."""
    return TaskCounts(*_SQL.rows("count_tasks", {"job_id": job_id})[0])


def rows(job_id: int, ordinals: Sequence[int]) -> Mapping[int, TaskRow]:
    """Return ledger rows by ordinal."""
    found = Task.objects.filter(job_id=job_id, ordinal__in=ordinals)
    return {row.ordinal: row for row in map(_row, found.iterator(_STREAM_ROWS))}


def stream(job_id: int, states: Iterable[TaskState] = tuple(TaskState)) -> Iterator[TaskRow]:
    """Yield every ledger row in the given states, in order of ordinal."""
    chosen = Task.objects.filter(job_id=job_id, state__in=list(states)).order_by("ordinal")
    return map(_row, chosen.iterator(_STREAM_ROWS))


def page(job_id: int, state: TaskState | None, after: int, limit: int) -> list[TaskRow]:
    """Return up to ``limit`` rows with an ordinal above ``after``, of one state where it is named, in order."""
    chosen = Task.objects.filter(job_id=job_id, ordinal__gt=after)
    if state is not None:
        chosen = chosen.filter(state=state)
    return [_row(task) for task in chosen.order_by("ordinal")[:limit]]


def open_ordinals(job_id: int) -> list[int]:
    """Return the ordinals of every task whose result still counts, in order."""
    open_tasks = Task.objects.filter(job_id=job_id, state__in=OPEN_TASK_STATES).order_by("ordinal")
    return list(open_tasks.values_list("ordinal", flat=True))


def unspent_ordinals(job_id: int, max_attempts: int, now: datetime, latest: datetime) -> list[int]:
    """Return the open tasks under no running lease that may be handed out once more, in order.

    Releases are no attempts. A lease runs that ends after ``now``, and not after ``latest``, where no lease ends.
    """
    return _ordinals(_unheld(job_id, now, latest).filter(attempts__lt=F("releases") + max_attempts))


def spent_ordinals(job_id: int, max_attempts: int, now: datetime, latest: datetime) -> list[int]:
    """Return the open tasks under no running lease that nobody will be handed again, in order."""
    return _ordinals(_unheld(job_id, now, latest).filter(attempts__gte=F("releases") + max_attempts))


def _unheld(job_id: int, now: datetime, latest: datetime) -> QuerySet[Task]:
    open_tasks = Task.objects.filter(job_id=job_id, state__in=OPEN_TASK_STATES)
    return open_tasks.exclude(state=TaskState.LEASED, leased_until__gt=now, leased_until__lte=latest)


def _ordinals(tasks: QuerySet[Task]) -> list[int]:
    return list(tasks.order_by("ordinal").values_list("ordinal", flat=True))


def _row(task: Task) -> TaskRow:
    return TaskRow(task.pk, task.ordinal, task.key, TaskState(task.state), task.attempts, task.error)
