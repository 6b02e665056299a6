"""Which of several outcomes for one task to account, and how to answer for those that did not count."""

from collections.abc import Iterable, Mapping

from headcount.domain.records import Outcome, TaskRow
from headcount.domain.states import AnswerStatus, TaskState

_MAX_REASON_LENGTH = 2000


def one_per_task(outcomes: Iterable[Outcome]) -> dict[int, Outcome]:
    """Choose one outcome for each task, keyed by ordinal: a success before a failure, else that of the latest attempt.

    Of equals the first is chosen. A success counts from any attempt, a failure only from the current one.
    """
    chosen: dict[int, Outcome] = {}
    for outcome in outcomes:
        held = chosen.get(outcome.ordinal)
        if held is None or _weight(outcome) > _weight(held):
            chosen[outcome.ordinal] = outcome
    return chosen


def _weight(outcome: Outcome) -> tuple[bool, int]:
    return outcome.error is None, outcome.attempt or 0


def why_not_counted(outcome: Outcome, rows: Mapping[int, TaskRow]) -> tuple[AnswerStatus, str]:
    """Say what became of an outcome that changed nothing, from the ledger row as it stands now."""
    row = rows.get(outcome.ordinal)
    if row is None:
        return AnswerStatus.REJECTED, "this job has no such task"
    if outcome.named_key is not None and outcome.named_key != row.key:
        return AnswerStatus.REJECTED, f"the result names {outcome.named_key!r} but the lease is for {row.key!r}"
    if row.state is TaskState.CANCELLED:
        return AnswerStatus.STALE, "the task was cancelled"
    if not row.state.is_open:
        return AnswerStatus.DUPLICATE, f"the task is already {row.state}"
    return AnswerStatus.STALE, f"the lease is of attempt {outcome.attempt}, the task is in attempt {row.attempt}"


def storable_reason(text: str) -> str:
    """Return a reason as every database stores it (no NUL, no half of a surrogate pair), no longer than people read."""
    mended = text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return mended[:_MAX_REASON_LENGTH]
