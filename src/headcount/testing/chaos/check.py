"""Check: hold what became of a job against its plan. Pure, but for ``look``, which gathers what became of it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from headcount.domain.records import Certificate, JobProgress, JobRecord, TaskCounts
from headcount.domain.states import STATE_MANAGER_STAGES, TaskState
from headcount.health.audit import audit
from headcount.models import JobEvent
from headcount.ports.deployment import Deployment
from headcount.ports.state_manager import Unknown
from headcount.store import jobs, ledger, progress
from headcount.testing.chaos.plan import Plan
from headcount.testing.kinds import notes_by_key


@dataclass(frozen=True, slots=True)
class Facts:
    """What became of a job, as every witness has it in the end.

    Attributes:
        job: the job's row.
        states: where each task stands, by ordinal, in the order of the rows.
        keys: the key of each task, by ordinal.
        rows: how often the result of each task is there, by key.
        promised: the keys of tasks that a poster was told are saved.
        certificates: the verdicts.
        finished: how often the log says that the job ended.
        progress: what the progress rows say.
        offences: what the audit complains of.
        remembered: what engines still hold of the run, in words.
    """

    job: JobRecord
    states: Mapping[int, str]
    keys: Mapping[int, str]
    rows: Mapping[str, int]
    promised: frozenset[str] = frozenset()
    certificates: tuple[Certificate, ...] = ()
    finished: int = 0
    progress: JobProgress = field(default_factory=JobProgress)
    offences: tuple[str, ...] = ()
    remembered: tuple[str, ...] = ()

    def those(self, state: TaskState) -> frozenset[int]:
        """The ordinals of the tasks that stand there."""
        return frozenset(ordinal for ordinal, found in self.states.items() if found == state)

    @property
    def counts(self) -> TaskCounts:
        """How many tasks stand where."""
        return TaskCounts(**Counter(self.states.values()))


def look(deployment: Deployment, job_id: int, promised: frozenset[str]) -> Facts:
    """Gather what became of a job of ``NoteKind``, from the rows and the engines themselves."""
    job = jobs.get(job_id)
    rows = list(ledger.stream(job_id))
    return Facts(
        job=job,
        states={row.ordinal: row.state.value for row in rows},
        keys={row.ordinal: row.key for row in rows},
        rows=notes_by_key(job_id),
        promised=promised,
        certificates=tuple(jobs.certificates(job_id)),
        finished=JobEvent.objects.filter(job_id=job_id, name="job.finished").count(),
        progress=progress.of(job_id),
        offences=audit(deployment, job_id).offences,
        remembered=tuple(_remembered(deployment, job)),
    )


def check(plan: Plan, facts: Facts) -> tuple[str, ...]:
    """Return a sentence for everything that is not as it must be; none where all is well."""
    return (
        *_status(plan, facts),
        *_conservation(plan, facts),
        *_exact_counts(plan, facts),
        *_each_result_once(facts),
        *_one_verdict(facts),
        *_progress(facts),
        *(f"the audit says: {offence}" for offence in facts.offences),
        *facts.remembered,
    )


def _status(plan: Plan, facts: Facts) -> Iterator[str]:
    if facts.job.status != plan.status:
        yield f"the job is {facts.job.status} where it must be {plan.status}"


def _conservation(plan: Plan, facts: Facts) -> Iterator[str]:
    tasks = len(plan.words)
    if sorted(facts.states) != list(range(tasks)):
        yield f"the ledger holds {len(facts.states)} tasks of {tasks}"
    if len(set(facts.keys.values())) != len(facts.states):
        yield "tasks share a key"
    if facts.job.task_total != tasks:
        yield f"the job says it has {facts.job.task_total} tasks of {tasks}"
    still_open = facts.counts.open
    if still_open:
        yield f"{still_open} tasks are still open"


def _exact_counts(plan: Plan, facts: Facts) -> Iterator[str]:
    """A cancelled job may have left any of its tasks undone; what it did must be as planned all the same."""
    for state, planned in ((TaskState.SAVED, plan.to_be_saved), (TaskState.FAILED, plan.to_fail)):
        found = facts.those(state)
        if found - planned:
            yield f"tasks {sorted(found - planned)} are {state} and should not be"
        if planned - found and not plan.is_cancelled:
            yield f"tasks {sorted(planned - found)} should be {state} and are not"
    if facts.those(TaskState.CANCELLED) and not plan.is_cancelled:
        yield f"tasks {sorted(facts.those(TaskState.CANCELLED))} are cancelled though nobody cancelled the job"


def _each_result_once(facts: Facts) -> Iterator[str]:
    saved = {facts.keys[ordinal] for ordinal in facts.those(TaskState.SAVED)}
    doubled = sorted(key for key, number in facts.rows.items() if number > 1)
    if doubled:
        yield f"results are there more than once: {', '.join(doubled)}"
    if saved - set(facts.rows):
        yield f"results are lost: {', '.join(sorted(saved - set(facts.rows)))}"
    if set(facts.rows) - saved:
        yield f"results are there of tasks that are not saved: {', '.join(sorted(set(facts.rows) - saved))}"
    if facts.promised - saved:
        yield f"posters were told that these are saved: {', '.join(sorted(facts.promised - saved))}"


def _one_verdict(facts: Facts) -> Iterator[str]:
    if len(facts.certificates) != 1 or facts.finished != 1:
        yield f"there are {len(facts.certificates)} certificates, and the log says {facts.finished} times that it ended"
        return
    (certificate,) = facts.certificates
    if certificate.status != facts.job.status:
        yield f"the certificate says {certificate.status}, the job {facts.job.status}"
    if certificate.counts != facts.counts:
        yield f"the certificate counts {certificate.counts.by_state()}, the ledger {facts.counts.by_state()}"


def _progress(facts: Facts) -> Iterator[str]:
    for stage in STATE_MANAGER_STAGES:
        said = facts.progress.stage(stage)
        if (said.done, said.failed) != (facts.counts.saved, facts.counts.failed):
            yield f"the progress of {stage} says {said.done} done and {said.failed} failed"


def _remembered(deployment: Deployment, job: JobRecord) -> Iterator[str]:
    if not job.is_final:
        return
    depth = deployment.queue.depth(job.ref)
    if depth is not None and depth.pending + depth.in_flight:
        yield f"the queue still holds {depth.pending + depth.in_flight} tasks of a job that ended"
    if not isinstance(deployment.state.snapshot(job.ref), Unknown):
        yield "the state manager still counts for a job that ended"
