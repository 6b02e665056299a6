"""Progress rows: what people see of a job's stages, written in one statement that cannot go backwards."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from headcount.domain.records import JobProgress, JobRef, StageProgress
from headcount.domain.states import Stage
from headcount.models import JobStage
from headcount.statements import Statements, as_json

_SQL = Statements("headcount.store.sql")


def write(job: JobRef, stages: Iterable[StageProgress], now: datetime) -> bool:
    """Raise the counts of stages to what is given; returns whether that changed anything.

    A lower number than what is written changes nothing, unless both cannot be true of so many tasks: then somebody has
    been at the row, and what is given replaces it. A later run starts anew with what is given for it; what an earlier
    run still has to say changes nothing.
    """
    items = sorted([stage.stage, stage.total, stage.done, stage.failed] for stage in stages)
    parameters = {"job_id": job.job_id, "run": job.run, "stages": as_json(items), "now": now}
    return _SQL.run("write_progress", parameters) > 0


def write_named_counts(job_id: int, counts: Mapping[str, int]) -> None:
    """Keep what was saved, by name, with the results stage."""
    JobStage.objects.filter(job_id=job_id, stage=Stage.RESULTS).update(counts=dict(counts))


def of(job_id: int) -> JobProgress:
    """Return the progress of a job as it is written down, in the order of the stages."""
    rows = {row.stage: row for row in JobStage.objects.filter(job_id=job_id)}
    return JobProgress(
        tuple(
            StageProgress(stage, rows[stage].total, rows[stage].done, rows[stage].failed)
            for stage in Stage
            if stage in rows
        )
    )


def named_counts(job_id: int) -> dict[str, int]:
    """Return the named counts as they are written down."""
    row = JobStage.objects.filter(job_id=job_id, stage=Stage.RESULTS).first()
    return dict(row.counts) if row else {}


def last_moved_at(job_id: int) -> datetime | None:
    """Return when any stage last made progress."""
    return JobStage.objects.filter(job_id=job_id).order_by("-updated_at").values_list("updated_at", flat=True).first()
