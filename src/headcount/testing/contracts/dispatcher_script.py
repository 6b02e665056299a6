"""Runs that behave as a test wrote down beforehand, and a record of what they did, shared by processes as files."""

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from headcount.domain.records import JobRef
from headcount.errors import PermanentError, TemporaryError
from headcount.ports.dispatcher import Checkpoint
from headcount.testing.waiting import LOOK_EVERY_SECONDS


class Behaviour(StrEnum):
    """What a run does when it is begun."""

    SUCCEED = "succeed"
    FAIL_FOR_NOW = "fail for now"
    FAIL_FOR_GOOD = "fail for good"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class ScriptedWork:
    """The work of a dispatcher under test, in a directory that the test and the workers share."""

    directory: Path

    def write(self, job: JobRef, *behaviours: Behaviour) -> None:
        """Say how a run behaves the first time it is begun, the second, and so on; the last goes for all later ones."""
        self._file(job, "script").write_text("\n".join(behaviours))

    def release(self, job: JobRef) -> None:
        """Let a run that waits succeed."""
        self._file(job, "released").touch()

    def begun(self, job: JobRef) -> int:
        """Return how often a run was begun."""
        return len(self._lines(job, "begun"))

    def ended(self, job: JobRef) -> int:
        """Return how often a run was left again, in whichever way but a crash."""
        return len(self._lines(job, "ended"))

    def abandoned(self, job: JobRef) -> list[str]:
        """Return the reasons for which a run was abandoned."""
        return self._lines(job, "abandoned")

    def run(self, job: JobRef, checkpoint: Checkpoint) -> None:
        """Do as it is written; this is what a dispatcher is given to run."""
        behaviours = self._lines(job, "script")
        self._note(job, "begun", "once")
        try:
            self._behave(job, Behaviour(behaviours[min(self.begun(job), len(behaviours)) - 1]), checkpoint)
        finally:
            self._note(job, "ended", "once")

    def abandon(self, job: JobRef, reason: str) -> None:
        """Note that the dispatcher gave a run up."""
        self._note(job, "abandoned", reason)

    def _behave(self, job: JobRef, behaviour: Behaviour, checkpoint: Checkpoint) -> None:
        match behaviour:
            case Behaviour.FAIL_FOR_NOW:
                raise TemporaryError("not now")
            case Behaviour.FAIL_FOR_GOOD:
                raise PermanentError("not ever")
            case Behaviour.WAIT:
                self._wait_for_release(job, checkpoint)

    def _wait_for_release(self, job: JobRef, checkpoint: Checkpoint) -> None:
        while not self._file(job, "released").exists():
            checkpoint()
            time.sleep(LOOK_EVERY_SECONDS)

    def _note(self, job: JobRef, what: str, line: str) -> None:
        with self._file(job, what).open("a") as file:
            file.write(f"{line}\n")

    def _lines(self, job: JobRef, what: str) -> list[str]:
        file = self._file(job, what)
        return file.read_text().splitlines() if file.exists() else []

    def _file(self, job: JobRef, what: str) -> Path:
        return self.directory / f"{job.job_id}-{job.run}.{what}"
