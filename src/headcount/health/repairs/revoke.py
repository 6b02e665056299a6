"""A job that nothing can finish any more: end it, as REVOKED, with the evidence."""

from headcount.flow.finalise import give_up
from headcount.health.finding import Finding
from headcount.health.observation import LedgerTestimony, Observation
from headcount.health.repairs.ground import ending, still_running
from headcount.ports.deployment import Deployment
from headcount.store import ledger, progress


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """End the run unless a task has moved since it was observed; one whose tasks are all accounted gets its verdict."""
    job = still_running(observation)
    if job is None or _has_moved(observation):
        return False
    return give_up(deployment, job.ref, finding.explanation, ending(finding))


def _has_moved(observation: Observation) -> bool:
    """Progress rows that are complete tell of a job whose ledger is gone that it is done, not that nobody can do it."""
    seen, job_id = observation.ledger, observation.job.id
    if not isinstance(seen, LedgerTestimony):
        return False
    counts = ledger.counts(job_id)
    return counts != seen.counts or (counts.total == 0 and progress.of(job_id).is_complete())
