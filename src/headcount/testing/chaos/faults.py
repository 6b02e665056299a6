"""Faults around the engines of any deployment: its callers die, or find an engine silent, at a named call.

Production code holds no hook: the engines are wrapped behind their ports.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, cast

from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import Dispatcher
from headcount.ports.job_kind import JobKind
from headcount.ports.state_manager import AsyncJobStateManager, Unknown
from headcount.ports.task_queue import TaskQueue
from headcount.testing.chaos.plan import Place
from headcount.testing.faults import Fault, Faults

_SILENCE = Unknown("the state manager does not answer")
_SAID_INSTEAD: Mapping[str, Callable[..., Any]] = {
    "snapshot": lambda *_: _SILENCE,
    "snapshots": lambda jobs: dict.fromkeys(jobs, _SILENCE),
    "all_tasks_processed": lambda *_: None,
}
"""What the port has a state manager say that does not answer, where it does not raise."""

_NOT_DONE = frozenset({Fault.UNAVAILABLE, Fault.DIED_BEFORE})


@dataclass(frozen=True, slots=True)
class Breakable:
    """A deployment whose engines and kinds suffer what is armed.

    Attributes:
        whole: the deployment as it was: what is asked of it never goes wrong.
        deployment: the same, through the faults.
        faults: what goes wrong, by the name of the port: ``queue``, ``state``, ``dispatcher``, ``kind``.
    """

    whole: Deployment
    deployment: Deployment
    faults: Mapping[str, Faults]

    def arm(self, place: Place) -> None:
        """Have the next process that comes to a place die there."""
        port, _, method = place.call.partition(".")
        self.faults[port].plan(method, place.fault)

    def mend(self) -> None:
        """Let nothing go wrong from now on."""
        for faults in self.faults.values():
            faults.clear()


def breakable(deployment: Deployment) -> Breakable:
    """Wrap the engines and kinds of a deployment."""
    faults = {port: Faults(port) for port in ("queue", "state", "dispatcher", "kind")}
    kinds = {name: cast("JobKind", _Struck(kind, faults["kind"])) for name, kind in deployment.kinds.items()}
    struck = replace(
        deployment,
        queue=cast("TaskQueue", _Struck(deployment.queue, faults["queue"])),
        state=cast("AsyncJobStateManager", _Struck(deployment.state, faults["state"])),
        dispatcher=cast("Dispatcher", _Struck(deployment.dispatcher, faults["dispatcher"])),
        kinds=kinds,
    )
    return Breakable(deployment, struck, faults)


class _Struck:
    """Passes everything on, through the faults."""

    def __init__(self, engine: object, faults: Faults) -> None:
        self._engine = engine
        self._faults = faults
        self._lock = Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        return self._through_faults(name, found) if callable(found) else found

    def _through_faults(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                fault = self._faults.take(name)
            if fault is Fault.UNAVAILABLE and name in _SAID_INSTEAD:
                return _SAID_INSTEAD[name](*arguments)
            if fault in _NOT_DONE:
                self._faults.strike(fault, name)
            answer = method(*arguments, **options)
            if fault is not None:
                self._faults.strike(fault, name)
            return answer

        return call
