"""Jobs that need their dispatcher: those it has not handed to workers yet, and those it does itself."""

from collections.abc import Iterator

from headcount.domain.states import JobState
from headcount.health.finding import Condition, Finding, Remedy
from headcount.health.rules.case import Case
from headcount.health.rules.standstill import given_up, waits_for_witnesses
from headcount.health.rules.wording import counted, span, tasks
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Unknown


def handing_out(case: Case) -> Iterator[Finding]:
    """A job for pull workers that is not published yet."""
    said = case.observation.dispatcher
    if case.job.published:
        return
    if isinstance(said, Unknown):
        yield from _unheard(case)
    elif _is_over(said):
        yield from _over(case, said)
    elif _is_spent(case, said) and case.is_stale:
        yield from _give_up(case, f"{_words(said)}, and nothing has moved for {span(case.standstill)}")
    else:
        yield from _not_over(case, said)


def doing_itself(case: Case) -> Iterator[Finding]:
    """A job that its dispatch does or pushes itself: its word is trusted, never past an open task."""
    said = case.observation.dispatcher
    if isinstance(said, Unknown):
        yield from _unheard(case)
    elif _is_over(said):
        yield from _over_by_its_word(case, said)
    elif case.is_stale:
        yield from _give_up(case, f"{_words(said)}, and nothing has moved for {span(case.standstill)}")
    else:
        yield from _not_over(case, said)


def _unheard(case: Case) -> Iterator[Finding]:
    if case.is_stale:
        yield waits_for_witnesses(case)


def _over_by_its_word(case: Case, said: DispatchTestimony | None) -> Iterator[Finding]:
    outcome = _outcome(said)
    if outcome is None or (case.ledger is None and not case.has_no_ledger):
        return
    if outcome is JobState.SUCCESS and not case.has_no_ledger:
        yield from _contradicted(case, said)
        return
    yield case.finding(
        Condition.DISPATCHER_DIED,
        Remedy.FOLLOW_DISPATCHER,
        f"The job is {case.job.status}, but {_words(said)}{_open_tasks(case)}.",
        next_step=f"The job ends as its dispatcher says: {outcome}.",
        outcome=outcome,
    )


def _contradicted(case: Case, said: DispatchTestimony | None) -> Iterator[Finding]:
    """The dispatcher has it done and the ledger has not: the ledger is right."""
    if case.is_stale:
        yield from _give_up(
            case, f"{_words(said)}{_open_tasks(case)}, and nothing has moved for {span(case.standstill)}"
        )
    else:
        yield from _over(case, said)


def _over(case: Case, said: DispatchTestimony | None) -> Iterator[Finding]:
    if _is_spent(case, said):
        yield from _give_up(case, f"{_words(said)} with its last attempt")
        return
    yield case.finding(
        Condition.DISPATCHER_DIED,
        Remedy.RESUME_DISPATCH,
        f"The job still needs its dispatcher, but {_words(said)}{_open_tasks(case)}.",
        next_step="The dispatch is taken up again where it stood.",
    )


def _not_over(case: Case, said: DispatchTestimony | None) -> Iterator[Finding]:
    if said is None:
        if case.is_settled:
            explanation = "The job was submitted, but the dispatcher knows nothing of it."
            next_step = "It is handed to the dispatcher."
            yield case.finding(Condition.DISPATCHER_DIED, Remedy.RESUME_DISPATCH, explanation, next_step=next_step)
    elif case.is_quiet:
        yield case.finding(
            Condition.STALLED,
            Remedy.RESUME_DISPATCH,
            f"Nothing has moved for {span(case.standstill)}, while {_words(said)}.",
            next_step="The dispatcher looks after it, which changes nothing for a dispatch that is alive.",
        )


def _give_up(case: Case, reason: str) -> Iterator[Finding]:
    if case.silent:
        yield waits_for_witnesses(case)
    elif not case.is_held:
        yield given_up(case, Condition.DISPATCHER_DIED, f"Nobody can finish the job: {reason}.")


def _is_over(said: DispatchTestimony | None) -> bool:
    return _outcome(said) is not None


def _outcome(said: DispatchTestimony | None) -> JobState | None:
    """Return the end that a dispatcher tells of; None for none, and for words that nobody knows."""
    state = None if said is None else JobState.parse(said.state)
    return state if state is not None and state.is_final else None


def _is_spent(case: Case, said: DispatchTestimony | None) -> bool:
    return said is not None and said.attempts >= case.policy.dispatch_attempts


def _words(said: DispatchTestimony | None) -> str:
    if said is None:
        return "the dispatcher knows nothing of it"
    reason = f" ({said.error})" if said.error else ""
    return f"its dispatch is {said.state} after {counted(said.attempts, 'attempt')}{reason}"


def _open_tasks(case: Case) -> str:
    ledger = case.ledger
    if ledger is None or not ledger.counts.total:
        return ""
    if not ledger.counts.open:
        return f" and the ledger holds {ledger.counts.total} of {case.job.task_total or 'its uncounted'} tasks"
    return f" and {tasks(ledger.counts.open)} of {ledger.counts.total} are open"
