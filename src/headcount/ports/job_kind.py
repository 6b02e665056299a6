"""The job kind: how a job collects its tasks, shows them to workers, and saves their results."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from headcount.domain.records import JobRecord, LeasedTask, TaskSpec
from headcount.domain.states import DispatchMode
from headcount.errors import BadInputError


@dataclass(frozen=True, slots=True)
class ParsedResult:
    """A posted result as its kind understands it: a result to save, or the error the worker reports.

    ``named_key`` is the task key the result itself names; it must be the key of the leased task.
    """

    result: Any = None
    error: str | None = None
    named_key: str | None = None


@dataclass(frozen=True, slots=True)
class SavedResult:
    """One result to save, with the ledger row it belongs to."""

    task_id: int
    ordinal: int
    key: str
    result: Any


class JobKind(ABC):
    """What a user writes to have jobs of their own.

    ``collect`` and ``save`` are all that every kind needs; ``process`` is needed for internal jobs, ``present`` and
    ``parse`` for jobs that remote workers do.
    """

    name: ClassVar[str]
    dispatch_modes: ClassVar[frozenset[DispatchMode]]
    export_formats: ClassVar[tuple[str, ...]] = ()

    def check(self, project_id: int, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the job's configuration, checked and completed, before the job is made.

        Raises:
            BadInputError: the configuration does not fit; the message says what would.
        """
        return config

    @abstractmethod
    def collect(self, job: JobRecord) -> Iterable[TaskSpec]:
        """Yield the tasks of a job, lazily and in a stable order; keys are unique within the job."""

    @abstractmethod
    def save(self, job: JobRecord, results: Sequence[SavedResult]) -> None:
        """Save results in the caller's transaction, with a number of statements that does not grow with the batch.

        Any exception but a temporary one marks a result as poison: it is isolated and its task fails.
        """

    def process(self, job: JobRecord, task: LeasedTask) -> Any:
        """Do one task of an internal job and return what ``save`` takes.

        Raises:
            Exception: its message becomes the task's error.
        """
        raise BadInputError(f"jobs of kind {self.name!r} cannot be done internally")

    def present(self, job: JobRecord, task: LeasedTask, base_url: str) -> dict[str, Any]:
        """Return what a worker is shown of a task, without the lease token."""
        return {"id": task.key, "payload": dict(task.payload)}

    def present_batch(self, job: JobRecord, tasks: Sequence[LeasedTask], base_url: str) -> dict[str, Any]:
        """Return the body with which a push service is sent a batch of tasks."""
        return {"pipeline": job.pipeline, "tasks": [self.present(job, task, base_url) for task in tasks]}

    def split_answer(self, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a push service answered for each task, by task key, each in the form that ``parse`` takes.

        Raises:
            BadInputError: the answer is not in the kind's form; the message becomes the error of every task sent.
        """
        results = answer.get("results")
        if not isinstance(results, list) or not all(isinstance(item, Mapping) for item in results):
            raise BadInputError('the answer needs a list "results" of objects with "id" and "result"')
        return {str(item.get("id")): item.get("result") for item in results}

    def parse(self, raw: Mapping[str, Any]) -> ParsedResult:
        """Understand one posted result.

        Raises:
            BadInputError: it is not in the kind's form; the message becomes the task's error.
        """
        error = raw.get("error")
        return ParsedResult(error=str(error)) if error is not None else ParsedResult(result=dict(raw))

    def named_counts(self, job_id: int) -> dict[str, int]:
        """Return counts of what was saved, by name, for people; the job is held meanwhile, so ask the database only."""
        return {}

    def offences(self, job_id: int, limit: int) -> Iterable[str]:
        """Return a sentence for each thing that is wrong with what was saved, for an audit.

        At most ``limit`` for one sort of offence, first of all for what does not belong to a task that the ledger holds
        as saved.
        """
        return ()

    def export(self, job_id: int, export_format: str) -> Iterator[str]:
        """Yield a job's saved results as text, in one of ``export_formats``."""
        raise BadInputError(f"jobs of kind {self.name!r} have nothing to export")
