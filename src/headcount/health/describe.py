"""Describe a job for people and scripts: one dictionary, the same in the API, the CLI and the demo."""

from typing import Any

from headcount.domain.records import Certificate, JobProgress, JobRecord
from headcount.domain.states import Stage
from headcount.ports.deployment import Deployment
from headcount.ports.state_manager import Snapshot
from headcount.store import jobs, progress


def describe(deployment: Deployment, job: JobRecord) -> dict[str, Any]:
    """Return a job with its stages, what it saved, and its certificates, ready to be shown as JSON."""
    written = progress.of(job.id)
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
        "priority": job.priority,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "stages": _stages(deployment, job, written),
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
