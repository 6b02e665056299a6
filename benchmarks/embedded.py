"""Measures the embedded deployment: ``python -m benchmarks.embedded [N ...]``.

One ``headcount serve`` on SQLite and four client processes on the same machine, over real HTTP; the time is taken from
submit to final status. Then the same work by one plain process, as the ceiling.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import ceiling_sqlite, statements
from benchmarks.measure import HEADING, Measured, measure_job, row
from benchmarks.workload import BATCH

SIZES = (1_000, 10_000, 50_000)
CLIENTS = 4


def main() -> None:
    """Measure each size on a fresh data directory and print a table."""
    sizes = [int(argument) for argument in sys.argv[1:]] or SIZES
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, batches of {BATCH}, {CLIENTS} clients")
    print(HEADING)
    runs = [_measured(size) for size in sizes]
    for run in runs:
        roof = ceiling_sqlite.measure(run.tasks)
        share = run.tasks / run.seconds / roof
        print(f"ceiling for {run.tasks:,} tasks: {roof:,.0f} tasks/s by one plain process; our share {share:.0%}")
    print(_statements())


def _measured(size: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="headcount-bench-") as folder:
        run = measure(size, Path(folder))
    print(row(run), flush=True)
    return run


def _statements() -> str:
    with tempfile.TemporaryDirectory(prefix="headcount-bench-") as folder:
        environment = {**os.environ, "HEADCOUNT_DATA_DIR": folder}
        return statements.counted(environment, prepare(1_000, environment), "bench-1000")


def measure(size: int, data_dir: Path) -> Measured:
    """Run one job of ``size`` tasks on an empty data directory."""
    environment = {**os.environ, "HEADCOUNT_DATA_DIR": str(data_dir)}
    token = prepare(size, environment)
    server = subprocess.Popen(
        [sys.executable, "-m", "headcount", "serve"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        return measure_job(url, token, size, CLIENTS, [server.pid])
    finally:
        server.terminate()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def prepare(size: int, environment: dict[str, str]) -> str:
    """Fill a deployment's database with images and return a token."""
    command = [sys.executable, "-m", "benchmarks.prepare", str(size)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return str(json.loads(done.stdout)["token"])


if __name__ == "__main__":
    main()
