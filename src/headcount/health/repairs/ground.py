"""What repairs have in common: the job as it stands now, and the event that tells of a repair."""

from typing import Any

from headcount.domain.records import Event, JobRecord
from headcount.errors import NotFoundError
from headcount.health.finding import Finding, Remedy
from headcount.health.observation import Observation
from headcount.ports.deployment import Deployment
from headcount.store import events, jobs

EVENT_PREFIX = "repair."
"""The names of the events of repairs are this and the remedy."""

LEVELLED = "progress.levelled"
"""The name of the event of ``level_progress``, which is no repair: progress is written only so often, and a job that
pauses is levelled at the next look."""


def still_running(observation: Observation) -> JobRecord | None:
    """Return the job as it stands now; None where it is gone, has ended, or is in another run than was observed."""
    try:
        job = jobs.get(observation.job.id)
    except NotFoundError:
        return None
    return None if job.is_final or job.run != observation.job.run else job


def tell(deployment: Deployment, observation: Observation, finding: Finding, done: str, **figures: Any) -> bool:
    """Write a repair into the job's log, with the explanation and the evidence of its finding; returns True."""
    events.append(observation.job.ref, event_of(finding, done, **figures), deployment.clock())
    return True


def event_of(finding: Finding, done: str, **figures: Any) -> Event:
    """Return the line that tells of a repair: why, on what evidence, and what was done."""
    evidence = {"condition": finding.condition, **finding.evidence, **figures}
    message = f"{finding.explanation} {done}"
    if finding.remedy is Remedy.LEVEL_PROGRESS:
        return Event(LEVELLED, message, "info", evidence)
    return Event(f"{EVENT_PREFIX}{finding.remedy}", message, "warning", evidence)
