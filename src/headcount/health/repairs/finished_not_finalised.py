"""A job whose tasks are all accounted, or that is being cancelled, but whose end nobody wrote: end it."""

from headcount.flow.finalise import finalise
from headcount.health.repairs.each import repair_each
from headcount.ports.deployment import Deployment
from headcount.store import jobs


def repair(deployment: Deployment) -> tuple[int, int, int]:
    """Finalise every running job that can be; returns how many were looked at, how many ended, how many could not."""
    return repair_each(jobs.running(), lambda job: finalise(deployment, job.ref))
