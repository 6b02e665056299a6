"""Measures one tick of the health loop: ``python -m benchmarks.health [N ...]``.

N running jobs of ten tasks each, healthy and waiting for workers, on the deployment that the environment describes; by
default the embedded one on a fresh data directory. Each size is measured on top of the one before; what was there
before makes the first figure larger. Without arguments: 1,000 and 10,000 jobs.

One job is submitted and dispatched; the others are copies of its rows, and what engines beyond the database are told of
a job they are told of each. Submitted one by one, ten thousand jobs wait a hundred thousand times for a disk.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.models import Model

    from headcount.models import Job

TASKS = 10
SIZES = (1_000, 10_000)
TICKS = 3
_ROWS_AT_ONCE = 1_000
_AT_ONCE = 8
"""How many jobs engines are told of at the same time."""


def main() -> None:
    """Make the jobs, look at them, and print a table."""
    with tempfile.TemporaryDirectory(prefix="headcount-bench-") as folder:
        if "HEADCOUNT_DATABASE_URL" not in os.environ:
            os.environ.setdefault("HEADCOUNT_DATA_DIR", folder)
        measure([int(argument) for argument in sys.argv[1:]] or SIZES)


def measure(sizes: Sequence[int]) -> None:
    """Print a row of the table for each size."""
    import headcount.cli.setup as deployment_setup  # noqa: PLC0415 - it reads the environment

    deployment_setup.prepare_database()
    from headcount.wiring import deployment  # noqa: PLC0415

    here = deployment()
    engines = f"{here.queue.name} queue, {here.state.name} state, {here.dispatcher.name} dispatcher"
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; {database()}; {engines}; {TASKS} tasks a job")
    print("| running jobs | seconds of a tick | SQL queries | repairs |")
    print("|---|---|---|---|")
    for size in sizes:
        make_jobs(size)
        print(row(), flush=True)


def database() -> str:
    """Return what database it is, with its version."""
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SHOW server_version")
        return f"{connection.vendor} {cursor.fetchone()[0].split()[0]}"


def make_jobs(size: int) -> None:
    """Have so many jobs that have not ended: one that is submitted and dispatched, and copies of it."""
    from headcount.domain.records import JobRef  # noqa: PLC0415
    from headcount.domain.states import FINAL_STATES  # noqa: PLC0415
    from headcount.models import Job  # noqa: PLC0415
    from headcount.wiring import deployment  # noqa: PLC0415

    here = deployment()

    def tell(job_id: int) -> None:
        if not here.state.in_database:
            here.state.initialise(JobRef(job_id, 1), TASKS)
        if not here.queue.in_database:
            here.queue.publish(JobRef(job_id, 1), range(TASKS))

    running = Job.objects.exclude(status__in=FINAL_STATES)
    pattern = running.order_by("id").first() or Job.objects.get(pk=dispatched_job())
    copies = copies_of(pattern, size - running.count())
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(tell, copies))


def dispatched_job() -> int:
    """Submit and dispatch a job; returns its id."""
    from headcount.domain.states import DispatchMode  # noqa: PLC0415
    from headcount.flow.run_job import run_job  # noqa: PLC0415
    from headcount.flow.submit import JobRequest, submit  # noqa: PLC0415
    from headcount.store import jobs, registry  # noqa: PLC0415
    from headcount.wiring import deployment  # noqa: PLC0415
    from headcount_images.models import Collection, Image  # noqa: PLC0415

    here = deployment()
    project_id = jobs.ensure_project("bench")
    registry.register(project_id, "bench", [registry.PipelineOffer("bench", "bench", "1")], here.clock())
    night, is_new = Collection.objects.get_or_create(project_id=project_id, name="night")
    if is_new:
        Image.objects.bulk_create(
            Image(collection=night, name=f"{n}.jpg", path="/dev/null", width=1, height=1, size=1) for n in range(TASKS)
        )
    request = JobRequest(project_id, "ml", DispatchMode.ASYNC_API, pipeline="bench", config={"collection": "night"})
    job = submit(here, request)
    run_job(here, job.ref)
    return job.id


def copies_of(pattern: "Job", number: int) -> list[int]:
    """Copy a job with all rows that belong to it, in whichever tables; returns the ids of the copies."""
    from django.apps import apps  # noqa: PLC0415
    from django.db.models import QuerySet  # noqa: PLC0415

    from headcount.models import Job  # noqa: PLC0415

    made = Job.objects.bulk_create([Job(**_values_of(pattern)) for _ in range(number)], batch_size=_ROWS_AT_ONCE)
    ids = [job.pk for job in made]
    for model in apps.get_models():
        if "job_id" in _columns(model):
            patterns = [_values_of(row) for row in QuerySet(model).filter(job_id=pattern.pk)]
            rows = [model(**{**values, "job_id": job_id}) for job_id in ids for values in patterns]
            QuerySet(model).bulk_create(rows, batch_size=_ROWS_AT_ONCE)
    return ids


def _columns(model: "type[Model]") -> list[str]:
    return [column.attname for column in model._meta.concrete_fields]  # noqa: SLF001 - Django's documented way to them


def _values_of(row: "Model") -> dict[str, Any]:
    return {name: getattr(row, name) for name in _columns(type(row)) if name != "id"}


def row() -> str:
    """Look at all jobs a few times and return the median as a row of the table; the first look is not counted."""
    from django.db import connection  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    from headcount.health.loop import jobs_health_check  # noqa: PLC0415
    from headcount.wiring import deployment  # noqa: PLC0415

    jobs_health_check(deployment())
    took = []
    for _ in range(TICKS):
        begun = time.perf_counter()
        report = jobs_health_check(deployment())
        took.append(time.perf_counter() - begun)
    with CaptureQueriesContext(connection) as captured:
        jobs_health_check(deployment())
    return f"| {report.jobs:,} | {sorted(took)[TICKS // 2]:.2f} | {len(captured)} | {report.total.fixed} |"


if __name__ == "__main__":
    main()
