"""Measures one tick of the health loop: ``python -m benchmarks.health [N ...]``.

N running jobs of ten tasks each, healthy and waiting for workers, on the deployment that the environment describes; by
default the embedded one on a fresh data directory. Each size is measured on top of the one before; what was there
before makes the first figure larger. Without arguments: 1,000 and 10,000 jobs.
"""

import os
import sys
import tempfile
import time

TASKS = 10
SIZES = (1_000, 10_000)
TICKS = 3


def main() -> None:
    """Make the jobs, look at them, and print a table."""
    if "HEADCOUNT_DATABASE_URL" not in os.environ:
        os.environ.setdefault("HEADCOUNT_DATA_DIR", tempfile.mkdtemp(prefix="headcount-bench-"))
    import headcount.cli.setup as deployment_setup  # noqa: PLC0415 - it reads the environment

    deployment_setup.prepare_database()
    from headcount.wiring import deployment  # noqa: PLC0415

    here = deployment()
    engines = f"{here.queue.name} queue, {here.state.name} state, {here.dispatcher.name} dispatcher"
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; {database()}; {engines}; {TASKS} tasks a job")
    print("| running jobs | seconds of a tick | SQL queries | repairs |")
    print("|---|---|---|---|")
    for size in [int(argument) for argument in sys.argv[1:]] or SIZES:
        make_jobs(size)
        print(row(), flush=True)


def database() -> str:
    """Return what database it is, with its version."""
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SHOW server_version")
        return f"{connection.vendor} {cursor.fetchone()[0].split()[0]}"


def make_jobs(size: int) -> None:
    """Submit and dispatch jobs until there are so many that have not ended."""
    from headcount.domain.states import FINAL_STATES, DispatchMode  # noqa: PLC0415
    from headcount.flow.run_job import run_job  # noqa: PLC0415
    from headcount.flow.submit import JobRequest, submit  # noqa: PLC0415
    from headcount.models import Job  # noqa: PLC0415
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
    for _ in range(size - Job.objects.exclude(status__in=FINAL_STATES).count()):
        run_job(here, submit(here, request).ref)


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
