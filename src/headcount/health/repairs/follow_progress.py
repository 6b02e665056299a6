"""A job with no ledger and no state, but with progress rows: end it by their word."""

from django.db import transaction

from headcount.domain.records import JobRecord, TaskCounts
from headcount.domain.states import JobState, Stage, from_states
from headcount.domain.verdict import verdict
from headcount.flow.finalise import give_up
from headcount.flow.relay import relay
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import ending, still_running
from headcount.ports.deployment import Deployment
from headcount.statements import write_transaction
from headcount.store import events, jobs, ledger, progress, transitions


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """End the run by the witness of last resort, if there is still no other and it still says what the finding says."""
    job = still_running(observation)
    return job is not None and not ledger.size(job.id) and _end(deployment, job, finding)


def _end(deployment: Deployment, job: JobRecord, finding: Finding) -> bool:
    is_complete = progress.of(job.id).is_complete()
    if finding.outcome is JobState.REVOKED:
        return not is_complete and give_up(deployment, job.ref, finding.explanation, ending(finding))
    finished = is_complete and _finish(deployment, job, finding)
    if finished:
        relay(deployment, job.ref)
    return finished


def _finish(deployment: Deployment, job: JobRecord, finding: Finding) -> bool:
    results = progress.of(job.id).stage(Stage.RESULTS)
    counts = TaskCounts(saved=results.done, failed=results.failed)
    decision = verdict(counts, job.failure_threshold)
    evidence = {"progress": counts.by_state(), "task_total": results.total}
    with write_transaction():
        # Whoever collects holds the job, too: no task comes between this look and the verdict.
        if not transitions.hold(job.ref, from_states(decision.status)) or ledger.size(job.id):
            return False
        jobs.set_task_total(job.id, job.run, counts.total)
        now = deployment.clock()
        finished = transitions.finish(job.ref, decision, counts, job.failure_threshold, evidence, now)
        if finished:
            events.append(job.ref, ending(finding)(decision.status), now)
        else:
            transaction.set_rollback(True)
    return finished
