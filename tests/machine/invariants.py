"""What must hold after every step, whatever happened: each check is one sentence of the design."""

from collections import Counter
from dataclasses import dataclass, field

from headcount.domain.records import Certificate, JobProgress, JobRecord, JobRef, TaskCounts, TaskRow
from headcount.domain.states import JobState, Stage, TaskState
from headcount.domain.verdict import verdict
from headcount.health.audit import audit
from headcount.models import JobEvent
from headcount.store import jobs, ledger, progress
from headcount.testing.kinds import NOTE
from tests.machine.world import World


@dataclass
class Seen:
    """What was true of a job once and may never be untrue again, but that a retry opens what is not saved."""

    run: int = 1
    final: str | None = None
    certificates: list[Certificate] = field(default_factory=list)
    accounted: dict[str, TaskState] = field(default_factory=dict)
    progress: dict[Stage, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """One job and its rows at one moment."""

    job: JobRecord
    rows: list[TaskRow]
    certificates: list[Certificate]
    progress: JobProgress
    events: list[tuple[str, str]]

    @classmethod
    def at(cls, job_id: int) -> "Look":
        events = list(JobEvent.objects.filter(job_id=job_id).values_list("name", "message"))
        certificates = list(jobs.certificates(job_id))
        return cls(jobs.get(job_id), list(ledger.stream(job_id)), certificates, progress.of(job_id), events)

    @property
    def counts(self) -> TaskCounts:
        return TaskCounts(**Counter(row.state.value for row in self.rows))


def check(world: World, seen: dict[int, Seen]) -> None:
    assert world.noticed == []
    for job_id in world.job_ids:
        look = Look.at(job_id)
        conservation(look)
        status_agrees_with_ledger(world, look)
        results_are_saved_once(world, look)
        state_manager_is_never_ahead(world, look)
        progress_is_never_ahead(look)
        nothing_is_undone(look, seen.setdefault(job_id, Seen()))


def conservation(look: Look) -> None:
    assert [row.ordinal for row in look.rows] == list(range(len(look.rows)))
    assert [row.key for row in look.rows] == [f"k{row.ordinal}" for row in look.rows]
    if look.job.task_total is not None:
        assert look.counts.total == look.job.task_total == look.job.config["tasks"]


def status_agrees_with_ledger(world: World, look: Look) -> None:
    finished = [name for name, _ in look.events if name == "job.finished"]
    ended = look.job.run - 1 + look.job.is_final
    assert len(finished) == ended
    assert [certificate.run for certificate in look.certificates] == list(range(1, ended + 1))
    if not look.job.is_final:
        return
    certificate = look.certificates[-1]
    assert certificate.status == look.job.status
    assert certificate.counts == world.kind.counts_before_verdict[look.job.id]
    if look.job.state is JobState.REVOKED:
        assert look.job.ref in world.cancelled | world.given_up
        whole = certificate.counts.total == look.job.task_total and not certificate.counts.open
        assert not whole or look.job.ref in world.cancelled
    else:
        assert look.counts.open == 0
        assert verdict(look.counts, look.job.failure_threshold).status == look.job.status


def results_are_saved_once(world: World, look: Look) -> None:
    saved = {row.key for row in look.rows if row.state is TaskState.SAVED}
    assert Counter(key for name, key in look.events if name == NOTE) == Counter(saved)
    assert {key for job_id, key in world.promised if job_id == look.job.id} <= saved


def state_manager_is_never_ahead(world: World, look: Look) -> None:
    failed = {row.ordinal: row.state is TaskState.FAILED for row in look.rows if row.state in ("saved", "failed")}
    for (_, ordinal), says_failed in world.state.marks(look.job.ref).items():
        assert failed.get(ordinal) is says_failed


def progress_is_never_ahead(look: Look) -> None:
    written = look.progress
    assert written.stage(Stage.COLLECT).done <= look.counts.total
    for stage in (Stage.PROCESS, Stage.RESULTS):
        assert written.stage(stage).done <= look.counts.saved
        assert written.stage(stage).failed <= look.counts.failed
    if written.is_complete():
        assert look.counts.open == 0


def nothing_is_undone(look: Look, seen: Seen) -> None:
    assert look.certificates[: len(seen.certificates)] == seen.certificates
    seen.certificates = look.certificates
    if look.job.run != seen.run:
        assert look.job.run > seen.run
        begin_run(look, seen)
    if seen.final is not None:
        assert look.job.status == seen.final
    if look.job.is_final:
        seen.final = look.job.status
    now = {row.key: row.state for row in look.rows if not row.state.is_open}
    assert seen.accounted.items() <= now.items()
    seen.accounted = now
    for stage in look.progress.stages:
        done, failed = seen.progress.get(stage.stage, (0, 0))
        assert stage.done >= done
        assert stage.failed >= failed
        seen.progress[stage.stage] = (stage.done, stage.failed)


def begin_run(look: Look, seen: Seen) -> None:
    """What is saved stays so; all else may be done again."""
    seen.run, seen.final, seen.progress = look.job.run, None, {}
    seen.accounted = {key: state for key, state in seen.accounted.items() if state is TaskState.SAVED}


def check_end(world: World) -> None:
    """What must hold when nothing goes wrong any more and there was time."""
    world.deployment.queue.reclaim_expired(world.clock())
    for job_id in world.job_ids:
        look = Look.at(job_id)
        assert look.job.is_final, f"job {job_id} is {look.job.status}: {look.counts}"
        assert ledger.counts(job_id) == look.counts
        assert audit(world.deployment, job_id).offences == ()
        if look.job.ref in world.cancelled - world.given_up:
            assert look.counts.open == 0
        ended = {JobRef(job_id, run) for run in range(1, look.job.run + 1)}
        assert not ended & (world.queue.runs() | world.state.runs()), "an engine remembers a run that ended"
