"""Finalise: end a job the moment its last task is accounted, on the ledger's evidence."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from headcount.domain.records import Event, JobRecord, JobRef, StageProgress, TaskCounts
from headcount.domain.states import STATE_MANAGER_STAGES, JobState, Stage, from_states
from headcount.domain.verdict import FOLLOWED, Verdict, cancelled, describe, given_up, live_bound, verdict
from headcount.flow.relay import relay
from headcount.ports.deployment import Deployment
from headcount.statements import write_transaction
from headcount.store import events, jobs, ledger, progress, transitions

VerdictNote = Callable[[JobState], Event]
"""What the one who ends a run has to say of it, given its final status; written in the transaction that ends it."""


def finalise(deployment: Deployment, ref: JobRef, note: VerdictNote | None = None) -> bool:
    """End a run whose tasks are all accounted, that is being cancelled, or that fails fast; returns whether it did.

    Whoever else ends it at the same moment makes this call a no-op.
    """
    job = jobs.get(ref.job_id)
    if job.is_final or job.run != ref.run:
        return False
    if job.state is JobState.CANCELING:
        return _finish_cancel(deployment, job, note)
    return _finish(deployment, job, note) or (_fails_fast(job) and _finish_failing(deployment, job, note))


def give_up(deployment: Deployment, ref: JobRef, reason: str, note: VerdictNote | None = None) -> bool:
    """End a run that nothing can finish any more, as REVOKED; open tasks stay open for results that come late.

    A run whose tasks are all accounted is finished, whatever gave up on it, and gets its verdict.
    """
    if finalise(deployment, ref, note):
        return True
    job = jobs.get(ref.job_id)
    if job.is_final or job.run != ref.run:
        return False
    if _revoke(deployment, job, reason, note):
        relay(deployment, ref)
        return True
    # The last results came in this very moment.
    return finalise(deployment, ref, note)


def follow(deployment: Deployment, ref: JobRef, status: JobState, reason: str, note: VerdictNote | None = None) -> bool:
    """End a run as the dispatcher that alone does its work says, whose word is trusted; returns whether this call did.

    Where it says FAILURE, what is open fails with its reason. What it calls a SUCCESS with a task open is none.
    """
    if status is JobState.REVOKED:
        return give_up(deployment, ref, reason, note)
    if finalise(deployment, ref, note):
        return True
    followed = _follow(deployment, ref, status, reason, note)
    if followed:
        relay(deployment, ref)
    return followed


def _follow(deployment: Deployment, ref: JobRef, status: JobState, reason: str, note: VerdictNote | None) -> bool:
    with write_transaction():
        if not transitions.hold(ref, from_states(status)) or _contradicts(status, ledger.counts(ref.job_id)):
            return False
        if status is JobState.FAILURE:
            ledger.fail_open(ref.job_id, reason, deployment.clock())
        jobs.set_task_total(ref.job_id, ref.run, ledger.size(ref.job_id))
        counts = ledger.counts(ref.job_id)
        decision = Verdict(status, describe(counts), reason)
        return _write_verdict(deployment, jobs.get(ref.job_id), decision, counts, note, {FOLLOWED: reason})


def _contradicts(status: JobState, counts: TaskCounts) -> bool:
    return status is JobState.SUCCESS and counts.open > 0


def _revoke(deployment: Deployment, job: JobRecord, reason: str, note: VerdictNote | None) -> bool:
    with write_transaction():
        if not transitions.hold(job.ref, from_states(JobState.REVOKED)):
            return False
        counts = ledger.counts(job.id)
        return not _is_whole(job, counts) and _write_verdict(deployment, job, given_up(counts, reason), counts, note)


def _is_whole(job: JobRecord, counts: TaskCounts) -> bool:
    return not counts.open and _is_collected(job, counts)


def _is_collected(job: JobRecord, counts: TaskCounts) -> bool:
    return job.task_total is not None and counts.total == job.task_total


def _fails_fast(job: JobRecord) -> bool:
    if not job.fail_fast:
        return False
    counts = ledger.counts(job.id)
    bound = live_bound(counts.total, counts.failed, job.failure_threshold)
    return _is_collected(job, counts) and not bound.can_succeed


def _finish_cancel(deployment: Deployment, job: JobRecord, note: VerdictNote | None) -> bool:
    return _finish_without_rest(deployment, job, {JobState.CANCELING}, cancelled, note)


def _finish_failing(deployment: Deployment, job: JobRecord, note: VerdictNote | None) -> bool:
    """What has failed stays failed for the rest of the run, so nothing that comes meanwhile can undo the verdict."""

    def decide(counts: TaskCounts) -> Verdict:
        return verdict(counts, job.failure_threshold)

    return _finish_without_rest(deployment, job, from_states(JobState.FAILURE), decide, note)


def _finish_without_rest(
    deployment: Deployment,
    job: JobRecord,
    states: Collection[JobState],
    decide: Callable[[TaskCounts], Verdict],
    note: VerdictNote | None,
) -> bool:
    """End a run that is in one of ``states``, and cancel what is open in the same transaction."""
    with write_transaction():
        if not transitions.hold(job.ref, states):
            return False
        number = ledger.cancel_open(job.id, deployment.clock())
        counts = ledger.counts(job.id)
        event = Event("tasks.cancelled", f"{number} open tasks were cancelled")
        events.append(job.ref, event, deployment.clock())
        finished = _write_verdict(deployment, job, decide(counts), counts, note)
    relay(deployment, job.ref)
    return finished


def _finish(deployment: Deployment, job: JobRecord, note: VerdictNote | None) -> bool:
    """End a run whose tasks are all accounted.

    While its job is held nothing makes an accounted task of the run open again, so one look at the ledger is enough.
    """
    with write_transaction():
        if not transitions.hold(job.ref, from_states(JobState.SUCCESS)):
            return False
        counts = ledger.counts(job.id)
        if not _is_whole(job, counts):
            return False
        finished = _write_verdict(deployment, job, verdict(counts, job.failure_threshold), counts, note)
    if finished:
        relay(deployment, job.ref)
    return finished


def _write_verdict(
    deployment: Deployment,
    job: JobRecord,
    decision: Verdict,
    counts: TaskCounts,
    note: VerdictNote | None,
    further: Mapping[str, str] = MappingProxyType({}),
) -> bool:
    """Write what was decided; the caller holds the job, on whose ledger the counts were read since.

    A job is locked before its stages, everywhere: two that lock them crosswise wait for each other.
    """
    named_counts = deployment.kind(job.kind).named_counts(job.id)
    _level_progress(deployment, job, counts)
    progress.write_named_counts(job.id, named_counts)
    evidence = {"ledger": counts.by_state(), "task_total": job.task_total, "saved": named_counts, **further}
    now = deployment.clock()
    finished = transitions.finish(job.ref, decision, counts, job.failure_threshold, evidence, now)
    if finished and note is not None:
        events.append(job.ref, note(decision.status), now)
    return finished


def _level_progress(deployment: Deployment, job: JobRecord, counts: TaskCounts) -> None:
    stages = [StageProgress(stage, job.task_total, counts.saved, counts.failed) for stage in STATE_MANAGER_STAGES]
    collected = StageProgress(Stage.COLLECT, job.task_total, counts.total)
    progress.write(job.ref, [collected, *stages], deployment.clock())
