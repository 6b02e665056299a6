"""Measures the distributed deployment: ``python -m benchmarks.distributed [N ...]``.

Private PostgreSQL, NATS and Redis servers, RabbitMQ as found, ``headcount up --distributed`` and eight client
processes, all on this machine; then the same work by plain clients without a framework, as the ceiling, and one tick
of the health loop over running jobs.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from kombu import Connection, Exchange

from benchmarks import ceiling, statements
from benchmarks.embedded import prepare
from benchmarks.measure import HEADING, Measured, measure_job, row
from benchmarks.workload import BATCH, percentile
from headcount.conf import Settings
from headcount.engines.celery.application import CLASSES, queue_name
from headcount.testing.servers import (
    free_port,
    nats_server,
    newest_nats,
    postgres_server,
    rabbitmq_url,
    redis_server,
)

SIZES = (1_000, 10_000, 100_000)
CLIENTS = 8
_CORES = os.cpu_count() or 2
CLIENTS_FOR_CORES = 2 * _CORES
"""As many for each core as eight are on four."""

_WARM_UP = 500
_PACED = 20_000
PACE = 2_000 * _CORES
"""Tasks/s that the clients ask for together where answers are timed on a deployment that is not saturated."""

_POSTGRES = {"shared_buffers": "1GB", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
"""As a deployment would have it; a commit is on disk before it is answered."""

WEB_WORKERS = max(2, _CORES // 2)


def main() -> None:
    """Measure each size, and the ceiling in the same run."""
    sizes = [int(argument) for argument in sys.argv[1:]] or SIZES
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, batches of {BATCH}, {CLIENTS} clients,")
    print(f"{WEB_WORKERS} web processes, PostgreSQL, NATS, Redis and RabbitMQ on the same machine")
    print(HEADING)
    with ExitStack() as stack:
        environment = stack.enter_context(deployment())
        with running(environment) as (url, pids):
            # Celery's workers come up after the web server, on the same cores: one job has them all there.
            measure_job(url, prepare(_WARM_UP, environment), _WARM_UP, CLIENTS, pids)
            results = {size: measure_job(url, prepare(size, environment), size, CLIENTS, pids) for size in sizes}
            token = prepare(_PACED, environment)
            paced = measure_job(url, token, _PACED, CLIENTS, pids, PACE)
            fewer = measure_job(url, token, _PACED, CLIENTS_FOR_CORES, pids)
            print(statements.counted(environment, prepare(2_000, environment), "bench-2000"), flush=True)
        for run in results.values():
            print(row(run), flush=True)
        print(f"and with the clients held to {PACE:,} tasks/s, {_PACED:,} tasks:")
        print(row(paced), flush=True)
        print(f"and with {CLIENTS_FOR_CORES} clients, as fast as they are answered:")
        print(row(fewer), flush=True)
        for run in results.values():
            print(_against_ceiling(run, ceiling.measure(environment, run.tasks, CLIENTS)), flush=True)
        print("and one tick of the health loop:", flush=True)
        subprocess.run([sys.executable, "-m", "benchmarks.health"], env=environment, check=True)


def _against_ceiling(run: Measured, roof: ceiling.Ceiling) -> str:
    share = run.tasks / run.seconds / roof.tasks_a_second
    p50, p95 = (percentile(roof.posts, which) for which in (50, 95))
    return (
        f"ceiling for {run.tasks:,} tasks: {roof.tasks_a_second:,.0f} tasks/s by plain clients, who take "
        f"{p50:.1f} / {p95:.1f} ms (p50 / p95) to save, count and acknowledge a batch; our share {share:.0%}"
    )


@contextmanager
def deployment() -> Iterator[dict[str, str]]:
    """Start the servers; yields the environment of a deployment on them, with its tables made."""
    broker = rabbitmq_url()
    if broker is None:
        raise SystemExit("RabbitMQ does not answer on its usual port")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headcount-bench-")))
        environment = {
            **os.environ,
            "HEADCOUNT_DATA_DIR": str(folder),
            "HEADCOUNT_DATABASE_URL": stack.enter_context(postgres_server(_POSTGRES)).url,
            "HEADCOUNT_QUEUE_URL": stack.enter_context(nats_server(newest_nats())).url,
            "HEADCOUNT_STATE_URL": stack.enter_context(redis_server()).url,
            "HEADCOUNT_BROKER_URL": broker,
            "HEADCOUNT_DEPLOYMENT_NAME": f"bench{os.getpid()}",
            "HEADCOUNT_SECRET_KEY": "benchmark",
        }
        subprocess.run([sys.executable, "-m", "headcount", "migrate"], env=environment, check=True, capture_output=True)
        try:
            yield environment
        finally:
            _forget_queues(broker, environment["HEADCOUNT_DEPLOYMENT_NAME"])


def _forget_queues(broker_url: str, deployment_name: str) -> None:
    """Take what a deployment made out of a RabbitMQ that others use too."""
    settings = Settings(deployment_name=deployment_name)
    with Connection(broker_url) as broker:
        for work_class in CLASSES:
            broker.default_channel.queue_delete(queue_name(settings, work_class))
        Exchange(deployment_name, channel=broker.default_channel).delete()


@contextmanager
def running(environment: dict[str, str]) -> Iterator[tuple[str, list[int]]]:
    """Run the deployment's processes; yields its address and the processes of the web server."""
    port = free_port()
    command = [sys.executable, "-m", "headcount", "up", "--distributed", "--port", str(port)]
    log = Path(environment["HEADCOUNT_DATA_DIR"]) / "up.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--web-workers", str(WEB_WORKERS)], env=environment, stdout=output, stderr=output
        )
    try:
        _wait_until_up(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}", _descendants(process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait_until_up(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{url}/api/v2/openapi.json").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the deployment does not come up:\n{log.read_text()[-3000:]}")


def _descendants(pid: int) -> list[int]:
    """Return the web server's processes: those below ``pid`` whose command names granian."""
    listed = subprocess.run(["pgrep", "-f", "granian"], capture_output=True, text=True, check=False).stdout.split()
    return [int(other) for other in listed if _is_below(int(other), pid)]


def _is_below(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            return False
    return False


if __name__ == "__main__":
    main()
