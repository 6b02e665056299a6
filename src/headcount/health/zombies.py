"""Zombies: what engines still hold of jobs that have ended or do not exist; the rule and the sweep."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from django.db import OperationalError, connection

from headcount import metrics
from headcount.domain.records import JobRef
from headcount.domain.states import JobState
from headcount.errors import TemporaryError
from headcount.health.finding import Condition, Finding, Remedy
from headcount.health.hearing import in_time
from headcount.health.repairs.clean_up import SWEEP, forget
from headcount.health.repairs.ground import event_of
from headcount.health.report import CheckOutcome
from headcount.ports.deployment import Deployment
from headcount.ports.holdings import Holdings
from headcount.store import events, jobs, turns
from headcount.store.jobs import Standing

_log = structlog.get_logger(__name__)
_PAGE = 1000


class Fate(StrEnum):
    """What is done about a run that an engine holds."""

    KEEP = "keep"
    DELETE = "delete"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Held:
    """What engines hold of one run.

    Attributes:
        engines: their names, in order.
        since: when the last of it was made or used; None where no engine tells.
        is_foreign: whether an engine is outside the deployment's own database, so that others may use it too.
    """

    engines: tuple[str, ...]
    since: datetime | None
    is_foreign: bool


def fate_of(
    job: JobRef, held: Held, standing: Standing | str | None, now: datetime, safety_age: timedelta
) -> tuple[Fate, str]:
    """Say what is done about a run that engines hold, and why. Pure.

    Args:
        job: the run.
        held: what engines hold of it.
        standing: where its job stands; None where there is no such job; a reason where that cannot be read.
        now: the present.
        safety_age: how long what is over is kept.
    """
    if isinstance(standing, str):
        return Fate.REPORT, f"its job cannot be read: {standing}"
    oldest = now - safety_age
    return _fate_of_unknown(held, oldest) if standing is None else _fate_of_known(job, standing, oldest)


def _fate_of_known(job: JobRef, standing: Standing, oldest: datetime) -> tuple[Fate, str]:
    state = JobState.parse(standing.status)
    if state is None:
        return Fate.REPORT, f"its job's status {standing.status!r} is a word that nobody here knows"
    if job.run > standing.run:
        return Fate.REPORT, f"its job is only in run {standing.run}"
    if not state.is_final:
        return Fate.KEEP, f"its job is {state}"
    if standing.finished_at is None:
        return Fate.REPORT, f"its job is {state} but nobody knows since when"
    is_old = standing.finished_at <= oldest
    return Fate.DELETE if is_old else Fate.KEEP, f"its job is {state} since {standing.finished_at:%Y-%m-%d %H:%M:%S}"


def _fate_of_unknown(held: Held, oldest: datetime) -> tuple[Fate, str]:
    """A job is committed before engines hear of it, so where only this deployment writes, no row means no job."""
    if held.since is not None:
        return Fate.DELETE if held.since <= oldest else Fate.KEEP, "there is no such job"
    if held.is_foreign:
        return Fate.REPORT, "there is no such job, and nobody knows since when it is there"
    return Fate.DELETE, "there is no such job"


def sweep(deployment: Deployment) -> CheckOutcome:
    """Have the engines forget what is over, as far as the rule says so; returns what was done.

    Of several sweeps at the same moment one is made.
    """
    with turns.taking(SWEEP, deployment.clock()) as mine:
        return _sweep(deployment) if mine else CheckOutcome()


def _sweep(deployment: Deployment) -> CheckOutcome:
    holdings, silent = _holdings(deployment)
    held = _by_run(deployment, holdings)
    unreadable = [name for of_engine in holdings.values() for name in of_engine.unreadable]
    if unreadable:
        _log.warning("health.zombie_skipped", names=unreadable[:10], number=len(unreadable), reason="of no known run")
    outcome = CheckOutcome(silent + len(unreadable), 0, silent + len(unreadable))
    for ref, standing in _standings(sorted(held), deployment.settings.witness_timeout):
        try:
            outcome += _settle(deployment, ref, held[ref], standing)
        except TemporaryError as error:
            # An engine that is away is so for the other runs, too: the next sweep begins with this one.
            _log.warning("health.postponed", check="zombies", job=ref.job_id, reason=str(error))
            return outcome + CheckOutcome(checked=1, unfixable=1)
    return outcome


def _holdings(deployment: Deployment) -> tuple[dict[str, Holdings], int]:
    """Ask each engine what it holds; one that does not answer keeps the other from nothing."""
    ask: dict[str, Callable[[], Holdings]] = {
        "queue": deployment.queue.held_runs,
        "state manager": deployment.state.held_runs,
    }
    said = {}
    for name, held_runs in ask.items():
        try:
            said[name] = held_runs()
        except TemporaryError as error:
            _log.warning("health.postponed", check="zombies", engine=name, reason=str(error))
        except Exception:  # noqa: BLE001 - as the docstring says
            _log.exception("health.zombies_not_listed", engine=name)
    return said, len(ask) - len(said)


def _by_run(deployment: Deployment, holdings: Mapping[str, Holdings]) -> dict[JobRef, Held]:
    is_foreign = not (deployment.queue.in_database and deployment.state.in_database)
    held: dict[JobRef, Held] = {}
    for name, of_engine in holdings.items():
        for ref, since in of_engine.runs:
            before = held.get(ref, Held((), None, is_foreign))
            times = [time for time in (before.since, since) if time is not None]
            held[ref] = Held((*before.engines, name), max(times, default=None), is_foreign)
    return held


def _standings(refs: Sequence[JobRef], timeout: timedelta) -> Iterator[tuple[JobRef, Standing | str | None]]:
    for start in range(0, len(refs), _PAGE):
        page = refs[start : start + _PAGE]
        try:
            with in_time(timeout):
                known = jobs.standings([ref.job_id for ref in page])
        except Exception as error:
            if isinstance(error, OperationalError) and connection.vendor == "postgresql":
                # The database itself does not answer in time; run by run it would not either.
                raise
            yield from ((ref, _standing_alone(ref)) for ref in page)
        else:
            yield from ((ref, known.get(ref.job_id)) for ref in page)


def _standing_alone(ref: JobRef) -> Standing | str | None:
    try:
        return jobs.standings([ref.job_id]).get(ref.job_id)
    except Exception as error:  # noqa: BLE001 - as above
        return str(error) or type(error).__name__


def _settle(deployment: Deployment, ref: JobRef, held: Held, standing: Standing | str | None) -> CheckOutcome:
    fate, reason = fate_of(ref, held, standing, deployment.clock(), deployment.settings.zombie_safety_age)
    if fate is Fate.KEEP:
        return CheckOutcome()
    if fate is Fate.REPORT:
        _log.warning("health.zombie_skipped", job=ref.job_id, run=ref.run, engines=held.engines, reason=reason)
        return CheckOutcome(checked=1, unfixable=1)
    is_known = isinstance(standing, Standing)
    try:
        if is_known:
            # First, as with every repair: nothing is deleted without a trace.
            _note(deployment, ref, held, reason)
        forget(deployment, ref)
    except TemporaryError:
        raise
    except Exception:  # noqa: BLE001 - one run that cannot be deleted must not hide the others
        _log.exception("health.zombie_not_deleted", job=ref.job_id, run=ref.run)
        return CheckOutcome(checked=1, unfixable=1)
    # A job that was deleted has no log any more; the process's own has the line in any case.
    metrics.repairs.labels(Remedy.CLEAN_UP).inc()
    _log.warning("health.zombie_deleted", job=ref.job_id, run=ref.run, engines=held.engines, reason=reason)
    return CheckOutcome(checked=1, fixed=1)


def _note(deployment: Deployment, ref: JobRef, held: Held, reason: str) -> None:
    holders = " and the ".join(held.engines)
    explanation = f"The {holders} still held something of run {ref.run}, though {reason}."
    evidence = {"engines": list(held.engines), "since": held.since.isoformat() if held.since else None}
    finding = Finding(Condition.ORPHANS, Remedy.CLEAN_UP, explanation, evidence)
    events.append(ref, event_of(finding, "It is being deleted.", runs=[ref.run]), deployment.clock())
