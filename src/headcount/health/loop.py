"""The health loop: every so often, look at every job, decide, and bring level what a crash or a loss left behind."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import structlog
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from headcount import metrics
from headcount.errors import TemporaryError
from headcount.flow.relay import relay
from headcount.health.finding import Condition, Finding, Remedy
from headcount.health.policy import policy_of
from headcount.health.report import CheckOutcome, HealthReport
from headcount.health.treat import Round, Treated, Treatment
from headcount.health.zombies import sweep
from headcount.ports.deployment import Deployment

_log = structlog.get_logger(__name__)

Check = Callable[[Deployment], CheckOutcome]

_NAME_OF = {
    Remedy.FINALISE: "finished_not_finalised",
    Remedy.FINISH_CANCEL: "finished_not_finalised",
    Remedy.FOLLOW_DISPATCHER: "finished_not_finalised",
    Remedy.FOLLOW_PROGRESS: "finished_not_finalised",
    Remedy.REPUBLISH: "lost_tasks",
    Remedy.FAIL_SPENT: "lost_tasks",
    Remedy.REBUILD_STATE: "state",
    Remedy.RESUME_DISPATCH: "dispatch_died",
    Remedy.REVOKE: "stalled",
    Remedy.LEVEL_PROGRESS: "progress",
    Remedy.CLEAN_UP: "zombies",
}
"""The sub-check that a remedy belongs to."""

SNAPSHOTS = "snapshots"
"""The sub-check that writes down, at level debug, what each witness says of every running job."""

UNREADABLE = "unreadable"
"""The sub-check of jobs that cannot be observed or decided, or whose status is a word that nobody knows."""


def jobs_health_check(deployment: Deployment) -> HealthReport:
    """Run every sub-check once, each isolated from the others; returns what each did.

    What is done about a job is what ``decide`` says of it and nothing else; a job that cannot be read, decided or
    repaired keeps no other from being looked at.
    """
    begun = time.monotonic()
    checks = {"outbox": _isolated("outbox", _relay_outbox, deployment)}
    checks["expired_leases"] = _isolated("expired_leases", _reclaim_expired, deployment)
    looked_at, of_jobs = _treat_jobs(deployment)
    checks |= of_jobs
    checks["zombies"] += _isolated("zombies", sweep, deployment)
    report = HealthReport(checks, looked_at, time.monotonic() - begun)
    _measure(deployment, report)
    return report


def _isolated(name: str, check: Check, deployment: Deployment) -> CheckOutcome:
    try:
        return check(deployment)
    except (TemporaryError, OperationalError, InterfaceError) as error:
        _log.warning("health.postponed", check=name, reason=str(error))
    except Exception:  # noqa: BLE001 - one broken check must not keep the others from running
        _log.exception("health.check_failed", check=name)
    return CheckOutcome(checked=1, unfixable=1)


def _relay_outbox(deployment: Deployment) -> CheckOutcome:
    done = relay(deployment)
    return CheckOutcome(checked=done, fixed=done)


def _reclaim_expired(deployment: Deployment) -> CheckOutcome:
    reclaimed = deployment.queue.reclaim_expired(deployment.clock())
    return CheckOutcome(checked=reclaimed, fixed=reclaimed)


def _treat_jobs(deployment: Deployment) -> tuple[int, dict[str, CheckOutcome]]:
    """Observe, decide and apply for every running job; returns how many, and what each sub-check did."""
    outcomes = dict.fromkeys([*_NAME_OF.values(), SNAPSHOTS, UNREADABLE], CheckOutcome())
    looked_at = 0
    try:
        for treated in Round(deployment, policy_of(deployment.settings)).running():
            looked_at += 1
            outcomes[SNAPSHOTS] += _snapshot(treated)
            for name, outcome in _outcomes(treated.treatments):
                outcomes[name] += outcome
    except (OperationalError, InterfaceError) as error:
        _log.warning("health.postponed", check="jobs", reason=str(error))
        outcomes[UNREADABLE] += CheckOutcome(checked=1, unfixable=1)
    except Exception:  # noqa: BLE001 - where the jobs cannot even be listed, the other sub-checks still run
        _log.exception("health.check_failed", check="jobs")
        outcomes[UNREADABLE] += CheckOutcome(checked=1, unfixable=1)
    return looked_at, outcomes


def _snapshot(treated: Treated) -> CheckOutcome:
    findings = [treatment.finding for treatment in treated.treatments if treatment.finding is not None]
    if not findings:
        return CheckOutcome()
    _log.debug("health.snapshot", job=treated.job_id, conditions=_conditions(findings), witnesses=findings[0].evidence)
    return CheckOutcome(checked=1)


def _conditions(findings: Sequence[Finding]) -> list[str]:
    return [str(finding.condition) for finding in findings]


def _outcomes(treatments: tuple[Treatment, ...]) -> Iterator[tuple[str, CheckOutcome]]:
    for treatment in treatments:
        finding = treatment.finding
        if finding is None or finding.condition is Condition.STATUS_UNKNOWN:
            yield UNREADABLE, CheckOutcome(checked=1, unfixable=1)
        elif finding.remedy is not Remedy.NONE:
            yield _NAME_OF[finding.remedy], CheckOutcome(1, int(treatment.changed), int(bool(treatment.error)))


def _measure(deployment: Deployment, report: HealthReport) -> None:
    metrics.tick_seconds.set(report.seconds)
    metrics.tick_ended_at.set(deployment.clock().timestamp())
    metrics.tick_jobs.set(report.jobs)
    for name, outcome in report.items():
        for word in ("checked", "fixed", "unfixable"):
            metrics.tick_outcomes.labels(name, word).set(getattr(outcome, word))


class HealthLoop:
    """Runs the health check on a thread of its own, at once and then at every interval of the settings."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._tick_forever, name="health-loop")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the tick that is under way."""
        self._stopping.set()
        self._thread.join()

    def _tick_forever(self) -> None:
        pause = self._deployment.settings.health_interval.total_seconds()
        while True:
            jobs_health_check(self._deployment)
            close_old_connections()
            if self._stopping.wait(pause):
                break
        connection.close()
