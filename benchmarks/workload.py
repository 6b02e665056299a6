"""The workload all benchmarks share: tasks with a payload of about 200 bytes, results of about 1 KB."""

import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import Pool
from typing import Any

import httpx

PIPELINE = "bench"
BATCH = 50
_NAME_LENGTH = 150
_DETECTIONS = 3
_ALGORITHM = {"name": "benchmark detector", "key": "benchmark-detector-v1"}
_TIMESTAMP = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class ClientTimes:
    """What one client measured, in seconds."""

    claims: list[float]
    posts: list[float]
    tasks: int
    last_sent_at: float


def image_name(number: int) -> str:
    """Return a file name that makes the task's payload about 200 bytes long."""
    return f"night/{number:07d}-".ljust(_NAME_LENGTH, "x") + ".jpg"


def result_of(image_id: str) -> dict[str, Any]:
    """Return a result of about 1 KB: three detections with one classification each."""
    classification = {
        "classification": "Noctua pronuba",
        "scores": [0.91],
        "algorithm": _ALGORITHM,
        "terminal": True,
        "timestamp": _TIMESTAMP,
    }
    detections = [
        {
            "source_image_id": image_id,
            "bbox": {"x1": 10.5 * number, "y1": 20.25, "x2": 10.5 * number + 99.5, "y2": 120.75},
            "algorithm": _ALGORITHM,
            "timestamp": _TIMESTAMP,
            "classifications": [classification],
        }
        for number in range(_DETECTIONS)
    ]
    return {
        "pipeline": PIPELINE,
        "total_time": 0.1,
        "source_images": [{"id": image_id, "url": ""}],
        "detections": detections,
    }


@contextmanager
def client_processes(clients: int) -> Iterator[Pool]:
    """Start client processes; yields them once each has loaded what it needs."""
    with multiprocessing.get_context("spawn").Pool(clients) as pool:
        pool.map(warm_up, range(clients), chunksize=1)
        yield pool


def warm_up(number: int) -> int:
    """Keep a process busy for a moment, so that each of the others gets a call of its own."""
    time.sleep(0.2)
    return number


def work_off(pool: Pool, url: str, token: str, job_id: int, tasks: int, clients: int) -> list[ClientTimes]:
    """Work a job off with client processes; returns what each measured."""
    measured = pool.starmap(_work_off, [(url, token, job_id)] * clients, chunksize=1)
    done = sum(times.tasks for times in measured)
    if done != tasks:
        raise SystemExit(f"the clients worked on {done} tasks of {tasks}")
    return measured


def answered(response: httpx.Response) -> Any:
    """Return an answer's JSON; end with the server's words if it is an error (httpx's own cannot cross processes)."""
    if response.is_error:
        raise SystemExit(f"{response.request.method} {response.url}: {response.status_code}: {response.text[:500]}")
    return response.json()


def percentile(values: Sequence[float], share: int) -> float:
    """Return a percentile of times, in milliseconds."""
    return statistics.quantiles(values, n=100)[share - 1] * 1000


def wait_until_final(client: httpx.Client, job_id: int) -> dict[str, Any]:
    """Look until a job has ended and return it."""
    while True:
        job: dict[str, Any] = answered(client.get(f"jobs/{job_id}"))
        if job["finished_at"]:
            return job
        time.sleep(0.01)


def _work_off(url: str, token: str, job_id: int) -> ClientTimes:
    claims: list[float] = []
    posts: list[float] = []
    tasks = 0
    last_sent_at = 0.0
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with httpx.Client(base_url=f"{url}/api/v2/", headers=headers, timeout=60) as client:
        while True:
            begun = time.perf_counter()
            claimed = answered(client.post(f"jobs/{job_id}/tasks", content=json.dumps({"batch_size": BATCH})))
            if not claimed["tasks"]:
                if tasks_remain(client, job_id):
                    continue
                break
            claims.append(time.perf_counter() - begun)
            body = json.dumps({"results": [_posted(task) for task in claimed["tasks"]]})
            begun, last_sent_at = time.perf_counter(), time.time()
            answer = answered(client.post(f"jobs/{job_id}/result", content=body))
            posts.append(time.perf_counter() - begun)
            tasks += answer["results_queued"]
    return ClientTimes(claims, posts, tasks, last_sent_at)


def tasks_remain(client: httpx.Client, job_id: int) -> bool:
    """Whether a job has not ended yet; an empty claim before that means that publishing goes on."""
    time.sleep(0.005)
    return not answered(client.get(f"jobs/{job_id}"))["finished_at"]


def _posted(task: dict[str, Any]) -> dict[str, Any]:
    return {"reply_subject": task["reply_subject"], "result": result_of(task["image_id"])}
