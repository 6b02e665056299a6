"""The ``export_results`` kind: write a job's saved results to a file on the server."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings

from headcount.domain.records import JobRecord, LeasedTask, TaskSpec
from headcount.domain.states import DispatchMode
from headcount.errors import BadInputError
from headcount.models import Job
from headcount.ports.job_kind import JobKind, SavedResult
from headcount_images import exports


class ExportResultsKind(JobKind):
    """One task: the file ``exports/job-<id>.<format>`` in the data directory, complete or not there at all.

    Configuration: ``{"job_id": 7, "format": "csv"}``.
    """

    name: ClassVar[str] = "export_results"
    dispatch_modes: ClassVar[frozenset[DispatchMode]] = frozenset({DispatchMode.INTERNAL})

    def check(self, project_id: int, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make sure that the job is there and the format is known."""
        job_id, export_format = config.get("job_id"), config.get("format", "csv")
        if not isinstance(job_id, int) or not Job.objects.filter(pk=job_id, project_id=project_id).exists():
            raise BadInputError(f"there is no job {job_id!r} in this project to export")
        exports.check_format(export_format)
        return {"job_id": job_id, "format": export_format}

    def collect(self, job: JobRecord) -> Iterable[TaskSpec]:
        """Yield the one file to write."""
        name = f"job-{job.config['job_id']}.{job.config['format']}"
        return [TaskSpec(name, {"path": str(settings.HEADCOUNT.data_dir.absolute() / "exports" / name)})]

    def process(self, job: JobRecord, task: LeasedTask) -> dict[str, Any]:
        """Write the file beside its place and move it there when it is whole."""
        destination = Path(task.payload["path"])
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = destination.with_suffix(f"{destination.suffix}.part-{job.id}-{os.getpid()}")
        try:
            with partial.open("w", encoding="utf-8", newline="") as file:
                file.writelines(exports.export(job.config["job_id"], job.config["format"]))
            partial.replace(destination)
        finally:
            partial.unlink(missing_ok=True)
        return {"path": str(destination)}

    def save(self, job: JobRecord, results: Sequence[SavedResult]) -> None:
        """Nothing is left to save: the file is in its place, under the name the task is keyed by."""
