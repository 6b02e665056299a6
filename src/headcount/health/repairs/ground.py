"""What repairs have in common: the job as it stands now, and the event that tells of a repair."""

from collections.abc import Callable
from typing import Any

from headcount.domain.records import Event, JobRecord
from headcount.domain.states import JobState
from headcount.errors import NotFoundError
from headcount.health.finding import Finding, Remedy
from headcount.health.observation import Observation
from headcount.ports.deployment import Deployment
from headcount.store import events, jobs

LEVELLED = "progress.levelled"
"""The name of the event of ``level_progress``, which is no warning: progress is written only so often, and a job that
pauses is levelled at the next look."""


def event_name(remedy: Remedy) -> str:
    """Return the name of the event that tells of a remedy."""
    return LEVELLED if remedy is Remedy.LEVEL_PROGRESS else f"repair.{remedy}"


def still_running(observation: Observation) -> JobRecord | None:
    """Return the job as it stands now; None where it is gone, has ended, or is in another run than was observed."""
    try:
        job = jobs.get(observation.job.id)
    except NotFoundError:
        return None
    return None if job.is_final or job.run != observation.job.run else job


def tell(deployment: Deployment, observation: Observation, finding: Finding, done: str, **figures: Any) -> None:
    """Write a repair into the job's log, with the explanation and the evidence of its finding.

    In the transaction that repairs; where an engine is called for it, right before: durability runs one way, and who
    dies over the call leaves a repair that is told of and done again, and none that nobody knows of.
    """
    events.append(observation.job.ref, event_of(finding, done, **figures), deployment.clock())


def ending(finding: Finding) -> Callable[[JobState], Event]:
    """Return what makes the event of a repair that ends a job, for the transaction that ends it."""
    return lambda status: event_of(finding, f"It is ended as {status}.")


def event_of(finding: Finding, done: str, **figures: Any) -> Event:
    """Return the line that tells of a repair: why, on what evidence, and what was done."""
    evidence = {"condition": finding.condition, **finding.evidence, **figures}
    message = f"{finding.explanation} {done}"
    level = "info" if finding.remedy is Remedy.LEVEL_PROGRESS else "warning"
    return Event(event_name(finding.remedy), message, level, evidence)
