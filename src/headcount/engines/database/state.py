"""The state manager in the database: a row for each mark, and one row of counts for each run."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from django.db import transaction

from headcount.domain.records import JobRef, StageProgress
from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.engines.database.models import RunState, StateMark
from headcount.engines.database.queue import answering
from headcount.errors import EngineUnavailableError
from headcount.ports.holdings import HeldRun, Holdings
from headcount.ports.state_manager import Mark, Silence, Snapshot, Unknown
from headcount.statements import Statements, as_json, write_transaction

_SQL = Statements("headcount.engines.database.sql")
_CHUNK = 5000
_NOTHING_NEW: Mapping[tuple[str, bool], int] = {}


class DatabaseStateManager:
    """Counts marks in two statements: insert those that are new, add their number to the run's counts."""

    name = "database"
    in_database = True

    def initialise(self, job: JobRef, total: int) -> None:
        """Begin to account for a run; a run that is known already stays as it is."""
        with answering(), write_transaction():
            RunState.objects.bulk_create([RunState(job_id=job.job_id, run=job.run, total=total)], ignore_conflicts=True)

    def account(self, job: JobRef, marks: Sequence[Mark]) -> Snapshot | Unknown:
        """Record marks and return the counts after them."""
        with answering(), write_transaction():
            return self._account(job, marks)

    def snapshot(self, job: JobRef) -> Snapshot | Unknown:
        """Return the counts."""
        try:
            with answering():
                row = RunState.objects.filter(job_id=job.job_id, run=job.run).first()
        except EngineUnavailableError as error:
            return Unknown(str(error))
        return _absent(job) if row is None else _testimony(row)

    def snapshots(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, Snapshot | Unknown]:
        """Return the counts of each run, in one statement."""
        try:
            with answering():
                rows = list(RunState.objects.filter(job_id__in=sorted({job.job_id for job in jobs})))
        except EngineUnavailableError as error:
            return dict.fromkeys(jobs, Unknown(str(error)))
        found = {JobRef(row.job_id, row.run): _testimony(row) for row in rows}
        return {job: found.get(job) or _absent(job) for job in jobs}

    def all_tasks_processed(self, job: JobRef) -> bool | None:
        """Whether both stages are complete; None where the run is not known."""
        answer = self.snapshot(job)
        return answer.all_tasks_processed if isinstance(answer, Snapshot) else None

    def rebuild_from(self, job: JobRef, total: int, marks: Iterable[Mark]) -> Snapshot:
        """Replace a run's counts by what the marks add up to."""
        with answering(), write_transaction():
            self._empty(job, total)
            for chunk in _chunks(marks):
                self._account(job, chunk)
            rebuilt = self._account(job, [])
        if isinstance(rebuilt, Unknown):
            raise EngineUnavailableError(rebuilt.reason)
        return rebuilt

    def clean_up(self, job: JobRef) -> None:
        """Delete a run's counts and marks."""
        with answering(), write_transaction():
            self._forget(job)

    def held_runs(self) -> Holdings:
        """Return every run with a row of counts or a mark; rows do not tell since when."""
        with answering():
            counted = RunState.objects.values_list("job_id", "run")
            marked = StateMark.objects.values_list("job_id", "run")
            runs = sorted(counted.union(marked))
        return Holdings(tuple(HeldRun(JobRef(*run)) for run in runs))

    def _account(self, job: JobRef, marks: Sequence[Mark]) -> Snapshot | Unknown:
        run = {"job_id": job.job_id, "run": job.run}
        new = Counter(_SQL.returning("mark", run | {"marks": _marks_json(marks)})) if marks else _NOTHING_NEW
        counts = _SQL.returning("add_counts", run | _added(new))
        if not counts:
            # Marks that were inserted while the run was being cleaned up would keep it from counting them later.
            transaction.set_rollback(True)
            return _absent(job)
        return _snapshot(*counts[0], newly=sum(new.values()))

    @staticmethod
    def _empty(job: JobRef, total: int) -> None:
        """The row stays where there is one, so that whoever counts or rebuilds meanwhile waits for its lock."""
        row = RunState(job_id=job.job_id, run=job.run, total=total)
        RunState.objects.bulk_create([row], ignore_conflicts=True)
        RunState.objects.select_for_update().get(job_id=job.job_id, run=job.run)
        StateMark.objects.filter(job_id=job.job_id, run=job.run).delete()
        RunState.objects.filter(job_id=job.job_id, run=job.run).update(total=total, **_added(_NOTHING_NEW))

    @staticmethod
    def _forget(job: JobRef) -> None:
        """The row first: no mark can be counted after it, so none stays behind."""
        RunState.objects.filter(job_id=job.job_id, run=job.run).delete()
        StateMark.objects.filter(job_id=job.job_id, run=job.run).delete()


def _marks_json(marks: Iterable[Mark]) -> str:
    """Of several marks for a task the first counts, in whatever order a statement inserts them."""
    first: dict[tuple[Stage, int], bool] = {}
    for mark in marks:
        if mark.stage in STATE_MANAGER_STAGES and mark.ordinal >= 0:
            first.setdefault((mark.stage, mark.ordinal), mark.failed)
    return as_json([[stage, ordinal, failed] for (stage, ordinal), failed in first.items()])


def _added(new: Mapping[tuple[str, bool], int]) -> dict[str, int]:
    added = {f"{stage}_{word}": 0 for stage in STATE_MANAGER_STAGES for word in ("done", "failed")}
    for (stage, failed), number in new.items():
        added[f"{stage}_{'failed' if failed else 'done'}"] += number
    return added


def _testimony(row: RunState) -> Snapshot:
    return _snapshot(row.total, row.process_done, row.process_failed, row.results_done, row.results_failed)


def _snapshot(
    total: int, process_done: int, process_failed: int, results_done: int, results_failed: int, *, newly: int = 0
) -> Snapshot:
    process = StageProgress(Stage.PROCESS, total, process_done, process_failed)
    results = StageProgress(Stage.RESULTS, total, results_done, results_failed)
    return Snapshot((process, results), newly)


def _absent(job: JobRef) -> Unknown:
    return Unknown(f"the state manager has no counts of job {job.job_id}, run {job.run}", Silence.ABSENT)


def _chunks(marks: Iterable[Mark]) -> Iterator[list[Mark]]:
    iterator = iter(marks)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
