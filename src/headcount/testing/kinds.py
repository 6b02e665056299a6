"""A job kind for tests: it needs no tables of its own and can be told what goes wrong."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from headcount.domain.records import JobRecord, LeasedTask, TaskSpec
from headcount.domain.states import DispatchMode, TaskState
from headcount.errors import BadInputError
from headcount.models import JobEvent, Task
from headcount.ports.job_kind import JobKind, ParsedResult, SavedResult

NOTE = "test.note"
"""The name of the event that stands for one saved result."""


class NoteKind(JobKind):
    """Saves each result as a line of the job's log, whose message is the task's key.

    No constraint keeps a result from being saved twice, so a test sees it if it was.
    Configuration: ``{"tasks": n}``; ``"broken": [keys]`` are tasks whose internal work raises.
    A result is ``{"note": text}`` with or without ``"key"``, the task it names; ``{"poison": text}`` cannot be saved;
    ``{"error": text}`` is a failure; anything else does not fit.
    """

    name: ClassVar[str] = "note"
    dispatch_modes: ClassVar[frozenset[DispatchMode]] = frozenset({DispatchMode.ASYNC_API, DispatchMode.INTERNAL})

    def collect(self, job: JobRecord) -> Iterable[TaskSpec]:
        """Yield ``k0``, ``k1`` and so on."""
        return (TaskSpec(f"k{number}", {"number": number}) for number in range(job.config["tasks"]))

    def process(self, job: JobRecord, task: LeasedTask) -> Any:
        """Note the task, unless it is to break."""
        if task.key in job.config.get("broken", ()):
            raise ValueError(f"{task.key} is broken")
        return {"note": f"done in attempt {task.attempt}"}

    def parse(self, raw: Mapping[str, Any]) -> ParsedResult:
        """Understand a note, a poison or an error."""
        named_key = raw.get("key")
        if "error" in raw:
            return ParsedResult(error=str(raw["error"]), named_key=named_key)
        if "note" in raw or "poison" in raw:
            return ParsedResult(result=dict(raw), named_key=named_key)
        raise BadInputError("a result is a note, a poison or an error")

    def save(self, job: JobRecord, results: Sequence[SavedResult]) -> None:
        """Write a line for each result, in one statement; a poison among them raises after the writing."""
        JobEvent.objects.bulk_create([_note(job, saved) for saved in results])
        poisons = [saved.result["poison"] for saved in results if "poison" in saved.result]
        if poisons:
            raise ValueError(poisons[0])

    def named_counts(self, job_id: int) -> dict[str, int]:
        """Count the notes."""
        return {"notes": sum(notes_by_key(job_id).values())}

    def offences(self, job_id: int, limit: int) -> Iterable[str]:
        """Name notes of tasks that are not saved."""
        saved = Task.objects.filter(job_id=job_id, state=TaskState.SAVED).values_list("key", flat=True)
        strays = sorted(set(notes_by_key(job_id)) - set(saved))[:limit]
        return [f"saved without standing in the ledger as saved: note of {key}" for key in strays]


def notes_by_key(job_id: int) -> Counter[str]:
    """Count what a job of ``NoteKind`` saved, for each key."""
    return Counter(JobEvent.objects.filter(job_id=job_id, name=NOTE).values_list("message", flat=True))


def _note(job: JobRecord, saved: SavedResult) -> JobEvent:
    return JobEvent(
        job_id=job.id,
        run=job.run,
        at=job.created_at,
        level="info",
        name=NOTE,
        message=saved.key,
        evidence=dict(saved.result),
    )
