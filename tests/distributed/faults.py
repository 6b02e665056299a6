"""Faults that tests arm: a process dies, or an engine fails, at a named gap between two steps.

Production code holds no hook: a test runs its processes with settings whose deployment was handed to ``with_faults``,
which wraps the engines behind their ports. A fault is a file in a directory that the test and the processes share;
whichever process comes to the gap first takes the file away and suffers the fault.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from headcount.clock import system_clock
from headcount.errors import EngineUnavailableError
from headcount.ports.deployment import Deployment
from headcount.ports.job_kind import JobKind
from headcount.ports.state_manager import AsyncJobStateManager
from headcount.ports.task_queue import TaskQueue


class Gap(StrEnum):
    """A place between two steps: right before or right after a call of an engine or a job kind."""

    BETWEEN_COMMIT_AND_COUNT = "before state.account"
    BETWEEN_COUNT_AND_ACKNOWLEDGEMENT = "before queue.acknowledge"
    BETWEEN_ACKNOWLEDGEMENT_AND_VERDICT = "after queue.acknowledge"
    BETWEEN_TOTAL_AND_STATE = "before state.initialise"
    BETWEEN_STATE_AND_PUBLICATION = "after state.initialise"
    BETWEEN_PUBLICATION_AND_NOTE = "after queue.publish"


class Harm(StrEnum):
    """What happens at a gap."""

    DEATH = "the process is killed"
    FAILURE = "the engine does not answer"


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults armed at this moment, and the hands of the clock, as files in a shared directory."""

    directory: Path

    def arm(self, gap: Gap | str, harm: Harm = Harm.DEATH) -> None:
        """Have the next process that comes to a gap, or to any place named like one, suffer."""
        self._write(gap, harm)

    def disarm(self) -> None:
        """Let nobody suffer any more."""
        for word in ("before", "after"):
            for armed in self.directory.glob(f"{word} *"):
                armed.unlink(missing_ok=True)

    def is_armed(self, gap: Gap) -> bool:
        """Whether nobody has come to the gap yet."""
        return (self.directory / gap).exists()

    def strike(self, gap: str) -> None:
        """Suffer what is armed for a gap, if anything is.

        Raises:
            EngineUnavailableError: it is a failure.
        """
        try:
            harm = (self.directory / gap).read_text()
            (self.directory / gap).unlink()
        except FileNotFoundError:
            return
        if harm == Harm.DEATH:
            os.kill(os.getpid(), signal.SIGKILL)
        raise EngineUnavailableError(f"a test made it fail: {gap}")

    def turn_clock(self, by: timedelta) -> None:
        """Set the clock of every process that shares the directory this far from the machine's."""
        self._write("clock", str(by.total_seconds()))

    def clock(self) -> datetime:
        """Return the machine's time, as far off as the clock was turned."""
        hands = self.directory / "clock"
        return system_clock() + timedelta(seconds=float(hands.read_text()) if hands.exists() else 0)

    def _write(self, name: str, text: str) -> None:
        """A file that is moved into place is never read half written."""
        draft = self.directory / f"{name}.draft"
        draft.write_text(text)
        draft.rename(self.directory / name)


def with_faults(deployment: Deployment, faults: Faults) -> Deployment:
    """Return a deployment whose queue, state manager and job kinds suffer what is armed."""
    queue = cast(TaskQueue, _Struck("queue", deployment.queue, faults))
    state = cast(AsyncJobStateManager, _Struck("state", deployment.state, faults))
    kinds = {name: cast(JobKind, _Struck("kind", kind, faults)) for name, kind in deployment.kinds.items()}
    return replace(deployment, queue=queue, state=state, kinds=kinds)


class _Struck:
    """Passes everything on to an engine, through the gaps around its calls."""

    def __init__(self, port: str, engine: object, faults: Faults) -> None:
        self._port = port
        self._engine = engine
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        return self._through_gaps(name, found) if callable(found) else found

    def _through_gaps(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._strike("before", name)
            answer = method(*arguments, **options)
            self._strike("after", name)
            return answer

        return call

    def _strike(self, moment: str, name: str) -> None:
        self._faults.strike(f"{moment} {self._port}.{name}")
