"""The health loop: every so often, bring level what a crash left behind."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.db import close_old_connections, connection

from headcount.errors import TemporaryError
from headcount.flow.relay import relay
from headcount.health.repairs import dispatch_died, finished_not_finalised, lost_tasks
from headcount.ports.deployment import Deployment

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What one sub-check did: how many it looked at, how many it put right, and what it could not."""

    checked: int = 0
    fixed: int = 0
    unfixable: int = 0


Check = Callable[[Deployment], CheckOutcome]


def jobs_health_check(deployment: Deployment) -> dict[str, CheckOutcome]:
    """Run every sub-check once, each isolated from the others; returns what each did, by name."""
    return {name: _isolated(name, check, deployment) for name, check in _CHECKS.items()}


def _isolated(name: str, check: Check, deployment: Deployment) -> CheckOutcome:
    try:
        return check(deployment)
    except TemporaryError as error:
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


def _finalise_finished(deployment: Deployment) -> CheckOutcome:
    return CheckOutcome(*finished_not_finalised.repair(deployment))


def _republish_lost(deployment: Deployment) -> CheckOutcome:
    return CheckOutcome(*lost_tasks.repair(deployment))


def _resume_dispatch(deployment: Deployment) -> CheckOutcome:
    return CheckOutcome(*dispatch_died.repair(deployment))


_CHECKS: dict[str, Check] = {
    "outbox": _relay_outbox,
    "expired_leases": _reclaim_expired,
    "finished_not_finalised": _finalise_finished,
    "dispatch_died": _resume_dispatch,
    "lost_tasks": _republish_lost,
}


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
