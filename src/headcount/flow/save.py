"""Save: one transaction marks the ledger and saves the domain rows; poison is isolated, nothing else is lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db import InterfaceError, OperationalError

from headcount.domain.judgement import storable_reason, why_not_counted
from headcount.domain.records import AccountedTask, JobRecord, Outcome, TaskRow
from headcount.domain.states import AnswerStatus, TaskState
from headcount.errors import EngineUnavailableError, TemporaryError
from headcount.ports.deployment import Deployment
from headcount.ports.job_kind import JobKind, SavedResult
from headcount.statements import write_transaction
from headcount.store import ledger

Refusal = tuple[AnswerStatus, str]

_NOT_THERE = frozenset({"42P01", "42703"})
"""PostgreSQL's codes for a table and for a column that is not there."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of a batch of outcomes.

    Attributes:
        newly: the tasks this batch accounted.
        refused: why each other outcome changed nothing, by ordinal.
        poison: why a result could not be saved, by ordinal; its task is among ``newly``, as failed.
        behind: tasks accounted earlier, of which later witnesses may not know yet.
    """

    newly: tuple[AccountedTask, ...] = ()
    refused: Mapping[int, Refusal] = field(default_factory=dict)
    poison: Mapping[int, str] = field(default_factory=dict)
    behind: tuple[AccountedTask, ...] = ()


def save(deployment: Deployment, job: JobRecord, outcomes: Sequence[Outcome]) -> Saved:
    """Account outcomes, one for each task, and save what the successful ones brought, in one transaction.

    Raises:
        EngineUnavailableError: the database does not answer; nothing was saved.
    """
    kind = deployment.kind(job.kind)
    now = deployment.clock()
    poison: dict[int, str] = {}
    try:
        newly = _save_whole_or_apart(kind, job, outcomes, now, poison)
    except (OperationalError, InterfaceError) as error:
        raise EngineUnavailableError(f"the database did not take the results: {error}") from error
    missed = {item.ordinal for item in outcomes} - {task.ordinal for task in newly}
    rows = ledger.rows(job.id, sorted(missed)) if missed else {}
    refused = {item.ordinal: why_not_counted(item, rows) for item in outcomes if item.ordinal in missed}
    return Saved(tuple(newly), refused, poison, tuple(_accounted(rows, refused)))


def _save_whole_or_apart(
    kind: JobKind, job: JobRecord, outcomes: Sequence[Outcome], now: datetime, poison: dict[int, str]
) -> list[AccountedTask]:
    try:
        with write_transaction():
            return _mark_and_save(kind, job, outcomes, now)
    except Exception as error:  # noqa: BLE001 - whatever else saving raises is poison to be found among the outcomes
        _raise_if_no_result_is_to_blame(error)
        return _save_in_halves(kind, job, outcomes, now, poison)


def _save_in_halves(
    kind: JobKind, job: JobRecord, outcomes: Sequence[Outcome], now: datetime, poison: dict[int, str]
) -> list[AccountedTask]:
    """Save each half in a transaction of its own, down to the single outcome that cannot be saved.

    Behind savepoints of one transaction a broken foreign key would only show when all of them are committed.
    """
    try:
        with write_transaction():
            return _mark_and_save(kind, job, outcomes, now)
    except Exception as error:  # noqa: BLE001 - as above
        _raise_if_no_result_is_to_blame(error)
        if len(outcomes) == 1:
            return _fail_poison(job, outcomes[0], error, now, poison)
    middle = len(outcomes) // 2
    first = _save_in_halves(kind, job, outcomes[:middle], now, poison)
    return first + _save_in_halves(kind, job, outcomes[middle:], now, poison)


def _raise_if_no_result_is_to_blame(error: Exception) -> None:
    """Raise what would befall every result: an engine does not answer, or a table or column is not there (yet).

    SQLite says the latter with an ``OperationalError``, PostgreSQL with a ``ProgrammingError`` of one of these codes.
    """
    if isinstance(error, OperationalError | InterfaceError | TemporaryError):
        raise error
    if getattr(error.__cause__, "sqlstate", None) in _NOT_THERE:
        raise OperationalError(str(error)) from error


def _mark_and_save(kind: JobKind, job: JobRecord, outcomes: Sequence[Outcome], now: datetime) -> list[AccountedTask]:
    newly = ledger.account(job.id, outcomes, now)
    results = {item.ordinal: item.result for item in outcomes if item.error is None}
    to_save = [
        SavedResult(task.task_id, task.ordinal, task.key, results[task.ordinal]) for task in newly if not task.failed
    ]
    if to_save:
        kind.save(job, sorted(to_save, key=lambda item: item.ordinal))
    return newly


def _fail_poison(
    job: JobRecord, outcome: Outcome, error: Exception, now: datetime, poison: dict[int, str]
) -> list[AccountedTask]:
    reason = storable_reason(f"the result could not be saved: {_first_line(error)}")
    poison[outcome.ordinal] = reason
    with write_transaction():
        return ledger.account(job.id, [replace(outcome, result=None, error=reason)], now)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _accounted(rows: Mapping[int, TaskRow], refused: Mapping[int, Refusal]) -> list[AccountedTask]:
    duplicates = [rows[ordinal] for ordinal, (status, _) in refused.items() if status is AnswerStatus.DUPLICATE]
    return [AccountedTask(row.task_id, row.ordinal, row.key, row.state is TaskState.FAILED) for row in duplicates]
