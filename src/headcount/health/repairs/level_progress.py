"""A progress row that says less than the ledger: raise it."""

from headcount.flow.count import progress_of
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import still_running, tell
from headcount.ports.deployment import Deployment
from headcount.statements import write_transaction
from headcount.store import progress


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Write what the ledger says at this moment, by the one statement that cannot go backwards."""
    job = still_running(observation)
    if job is None or job.task_total is None:
        return False
    with write_transaction():
        raised = progress.write(job.ref, progress_of(job), deployment.clock())
        if raised:
            tell(deployment, observation, finding, "It is level with the ledger now.")
    return raised
