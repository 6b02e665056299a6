"""Describe a job for people and scripts: one dictionary, the same in the API, the CLI and the demo."""

from collections.abc import Mapping, Sequence
from typing import Any

from headcount.domain.records import Certificate, JobProgress, JobRecord
from headcount.domain.states import JobState, Stage, from_states
from headcount.domain.verdict import live_bound
from headcount.ports.deployment import Deployment
from headcount.ports.state_manager import Snapshot
from headcount.store import jobs, progress

_DECIDED_BY_FAILURES = from_states(JobState.FAILURE)


def describe(deployment: Deployment, job: JobRecord) -> dict[str, Any]:
    """Return a job with its stages, what it saved, and its certificates, ready to be shown as JSON."""
    stages = _stages(deployment, job, progress.of(job.id))
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "project_id": job.project_id,
        "pipeline_slug": job.pipeline,
        "dispatch_mode": job.dispatch_mode,
        "status": job.status,
        "run": job.run,
        "task_total": job.task_total,
        "failure_threshold": job.failure_threshold,
        "fail_fast": job.fail_fast,
        "priority": job.priority,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "bound": _bound(job, stages),
        "stages": stages,
        "counts": _saved(deployment, job),
        "certificates": [_certificate(item) for item in jobs.certificates(job.id)],
    }


def _stages(deployment: Deployment, job: JobRecord, written: JobProgress) -> list[dict[str, Any]]:
    """Prefer what the state manager says now over what was last written down, while the job runs."""
    shown = {stage: written.stage(stage) for stage in Stage}
    testimony = None if job.is_final else deployment.state.snapshot(job.ref)
    if isinstance(testimony, Snapshot):
        shown |= {stage.stage: stage for stage in testimony.stages}
    return [
        {"stage": item.stage, "total": item.total, "done": item.done, "failed": item.failed} for item in shown.values()
    ]


def _bound(job: JobRecord, stages: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Say how many more tasks may fail, from the failures counted so far; None where failures decide nothing."""
    if job.state not in _DECIDED_BY_FAILURES or job.task_total is None:
        return None
    failed = max(stage["failed"] for stage in stages)
    bound = live_bound(job.task_total, failed, job.failure_threshold)
    return {"can_succeed": bound.can_succeed, "failures_left": max(bound.failures_left, 0), "says": str(bound)}


def _saved(deployment: Deployment, job: JobRecord) -> dict[str, int]:
    if job.is_final:
        return progress.named_counts(job.id)
    return deployment.kind(job.kind).named_counts(job.id)


def _certificate(item: Certificate) -> dict[str, Any]:
    return {
        "run": item.run,
        "status": item.status,
        "arithmetic": item.arithmetic,
        "reason": item.reason,
        "counts": item.counts.by_state(),
        "threshold": item.threshold,
        "decided_at": item.decided_at,
    }
