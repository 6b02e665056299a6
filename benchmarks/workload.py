"""The workload all benchmarks share: tasks with a payload of about 200 bytes, results of about 1 KB."""

import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from multiprocessing.pool import Pool
from typing import Any
from urllib.parse import urlsplit

import httpx

PIPELINE = "bench"
BATCH = 50
_NAME_LENGTH = 150
_DETECTIONS = 3
_ALGORITHM = {"name": "benchmark detector", "key": "benchmark-detector-v1"}
_WAIT_SECONDS = 1.0
"""How long a claim waits for tasks; workers wait longer, but here nobody is to wait long for a job that has ended."""
_TIMESTAMP = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class ClientTimes:
    """What one client measured, in seconds."""

    claims: list[float]
    posts: list[float]
    tasks: int
    last_sent_at: float


@dataclass(frozen=True, slots=True)
class JobAt:
    """A job of so many tasks, and where and with which token to work on it."""

    url: str
    token: str
    job_id: int
    tasks: int


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


def work_off(pool: Pool, job: "JobAt", clients: int, pace: float | None) -> list[ClientTimes]:
    """Work a job off with client processes; returns what each measured.

    With ``pace``, in tasks/s of all clients together, each begins a batch when it is due, as workers do that compute.
    """
    cycle = 0.0 if pace is None else clients * BATCH / pace
    measured = pool.starmap(_work_off, [(job, cycle, cycle * n / clients) for n in range(clients)], chunksize=1)
    done = sum(times.tasks for times in measured)
    if done != job.tasks:
        raise SystemExit(f"the clients worked on {done} tasks of {job.tasks}")
    return measured


def answered(response: httpx.Response) -> Any:
    """Return an answer's JSON; end with the server's words if it is an error (httpx's own cannot cross processes)."""
    if response.is_error:
        raise SystemExit(f"{response.request.method} {response.url}: {response.status_code}: {response.text[:500]}")
    return response.json()


def percentile(values: Sequence[float], share: int) -> float:
    """Return a percentile of times, in milliseconds; of a job too small to have any, no number."""
    if len(values) < 2:
        return math.nan
    return statistics.quantiles(values, n=100)[share - 1] * 1000


def wait_until_final(client: httpx.Client, job_id: int) -> dict[str, Any]:
    """Look until a job has ended and return it."""
    while True:
        job: dict[str, Any] = answered(client.get(f"jobs/{job_id}"))
        if job["finished_at"]:
            return job
        time.sleep(0.01)


_CLAIM = json.dumps({"pipelines": [PIPELINE], "batch_size": BATCH, "wait_seconds": _WAIT_SECONDS})


class _Caller:
    """Sends requests over one connection that is kept.

    It does as little as a client can: what it computes is taken from the server, which runs on the same cores.
    """

    def __init__(self, job: JobAt) -> None:
        self._connection = HTTPConnection(urlsplit(job.url).netloc, timeout=60)
        self._job = f"jobs/{job.job_id}"
        self._headers = {"Authorization": f"Bearer {job.token}", "Content-Type": "application/json"}

    def post(self, body: str) -> Any:
        """Post a batch of results."""
        return self.call("POST", f"{self._job}/result", body)

    def call(self, method: str, path: str, body: str | None = None) -> Any:
        """Return the answer's JSON; end with the server's words if it is an error."""
        content = None if body is None else body.encode()
        self._connection.request(method, f"/api/v2/{path}", content, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise SystemExit(f"{method} {path}: {response.status}: {answer[:500]!r}")
        return json.loads(answer)

    def claim(self) -> Any:
        """Return a batch of tasks, as soon as there are any; without any if none comes."""
        return self.call("POST", "tasks/claim", _CLAIM)

    def has_ended(self) -> bool:
        """Whether the job has ended; before that an empty claim means that its tasks are with others or yet to come."""
        return bool(self.call("GET", self._job)["finished_at"])


def _work_off(job: JobAt, cycle: float, due_in: float) -> ClientTimes:
    claims: list[float] = []
    posts: list[float] = []
    tasks = 0
    last_sent_at = 0.0
    caller = _Caller(job)
    due = time.perf_counter() + due_in
    while True:
        time.sleep(max(0.0, due - time.perf_counter()))
        due += cycle
        begun = time.perf_counter()
        claimed = caller.claim()
        if not claimed["tasks"]:
            if not caller.has_ended():
                continue
            break
        claims.append(time.perf_counter() - begun)
        body = f'{{"results": [{", ".join(map(_posted, claimed["tasks"]))}]}}'
        begun, last_sent_at = time.perf_counter(), time.time()
        answer = caller.post(body)
        posts.append(time.perf_counter() - begun)
        tasks += answer["results_queued"]
    # The first claim of each client waits until the job is dispatched.
    return ClientTimes(claims[1:], posts, tasks, last_sent_at)


_IMAGE_ID = "the id of the image"
_RESULT = json.dumps(result_of(_IMAGE_ID))


def _posted(task: dict[str, Any]) -> str:
    result = _RESULT.replace(_IMAGE_ID, task["image_id"])
    return f'{{"reply_subject": "{task["reply_subject"]}", "result": {result}}}'
