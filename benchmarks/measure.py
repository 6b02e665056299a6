"""Measures one job of a running deployment, from submit to final status."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.workload import (
    PIPELINE,
    ClientTimes,
    JobAt,
    answered,
    client_processes,
    percentile,
    wait_until_final,
    work_off,
)

HEADING = """\
| tasks | seconds | tasks/s | claim p50 / p95 ms | post p50 / p95 ms | last post to final ms | peak MB |
|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    tasks: int
    seconds: float
    claims: list[float]
    posts: list[float]
    status: str
    last_result_to_final: float
    peak_memory: int


def measure_job(
    url: str, token: str, size: int, clients: int, pids: Sequence[int], pace: float | None = None
) -> Measured:
    """Submit a job of ``size`` tasks, work it off with client processes, and return what was measured.

    ``pids`` are the server's processes, whose peak memory is added up with that of the processes they started. With
    ``pace``, in tasks/s, the clients together ask for no more than that; else each asks as fast as it is answered.
    """
    headers = {"Authorization": f"Bearer {token}"}
    body = {"kind": "ml", "pipeline": PIPELINE, "config": {"collection": f"bench-{size}"}}
    with (
        client_processes(clients) as pool,
        httpx.Client(base_url=f"{url}/api/v2/", headers=headers, timeout=60) as client,
    ):
        job_id = answered(client.post("jobs", json=body))["id"]
        times = work_off(pool, JobAt(url, token, job_id, size), clients, pace)
        job = wait_until_final(client, job_id)
    return _measured(job, size, times, pids)


def _measured(job: dict[str, Any], size: int, times: list[ClientTimes], pids: Sequence[int]) -> Measured:
    finished = datetime.fromisoformat(job["finished_at"])
    return Measured(
        tasks=size,
        seconds=(finished - datetime.fromisoformat(job["created_at"])).total_seconds(),
        claims=[seconds for item in times for seconds in item.claims],
        posts=[seconds for item in times for seconds in item.posts],
        status=job["status"],
        last_result_to_final=finished.timestamp() - max(item.last_sent_at for item in times),
        peak_memory=sum(_peak_memory(pid) + sum(map(_peak_memory, _started_by(pid))) for pid in pids),
    )


def _started_by(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run, as Linux tells them."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _peak_memory(pid: int) -> int:
    """Return the most memory a process has held, in bytes, as Linux tells it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def row(run: Measured) -> str:
    """Return a run as a row of the table."""
    if run.status != "SUCCESS":
        raise SystemExit(f"the job ended {run.status}")
    return (
        f"| {run.tasks:,} | {run.seconds:.2f} | {run.tasks / run.seconds:,.0f} "
        f"| {percentile(run.claims, 50):.1f} / {percentile(run.claims, 95):.1f} "
        f"| {percentile(run.posts, 50):.1f} / {percentile(run.posts, 95):.1f} "
        f"| {run.last_result_to_final * 1000:.0f} | {run.peak_memory / 2**20:.0f} |"
    )
