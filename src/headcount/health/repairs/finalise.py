"""A job whose tasks are all accounted, but whose end nobody wrote: end it with its verdict."""

from headcount.flow.finalise import finalise
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import ending, still_running
from headcount.ports.deployment import Deployment


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """End the run if every task is accounted now; the UPDATE that writes the status counts them once more."""
    job = still_running(observation)
    return job is not None and finalise(deployment, job.ref, ending(finding))
