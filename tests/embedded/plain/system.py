"""The embedded system as real processes, and a plain HTTP client that works for it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

import headcount

SOURCE = Path(headcount.__file__).parents[1]
ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60.0
SLUG = "little"


def wait_until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Look again and again until something holds, and return it; fail when it never does."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(data: Path, **variables: object) -> dict[str, str]:
    """The variables of a process: none of the caller's ``HEADCOUNT_*``, short leases, warnings are errors."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADCOUNT_")}
    fixed = {
        "PYTHONPATH": os.pathsep.join([str(SOURCE), str(ROOT)]),
        "PYTHONWARNINGS": "error",
        "DJANGO_SETTINGS_MODULE": "tests.embedded.plain.settings",
        "HEADCOUNT_DATA_DIR": str(data),
        "HEADCOUNT_ACK_WAIT": "PT2S",
        "HEADCOUNT_DISPATCH_LEASE": "PT1S",
        "HEADCOUNT_HEALTH_INTERVAL": "PT1S",
        "HEADCOUNT_TEST_GATE": str(data / "gate"),
    }
    return kept | fixed | {name: str(value) for name, value in variables.items()}


class Process:
    """One ``python -m headcount ...`` in a process group of its own; what it says is kept in files."""

    def __init__(self, data: Path, *arguments: object, cwd: Path | None = None, **variables: object) -> None:
        self._said = data.parent / f"said-{time.monotonic_ns()}"
        with self._said.with_suffix(".out").open("w") as out, self._said.with_suffix(".err").open("w") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headcount", *map(str, arguments)],
                env=environment(data, **variables),
                cwd=cwd or data.parent,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._said.with_suffix(".out").read_text()

    @property
    def err(self) -> str:
        return self._said.with_suffix(".err").read_text()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def left_something_running(self) -> bool:
        """Whether anything of its process group is alive."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    def exit_code(self, seconds: float = PATIENCE_SECONDS) -> int:
        return self._process.wait(seconds)

    def end(self) -> None:
        """Leave nothing running, whatever the test came to."""
        if self.is_running:
            self.kill()


class Server(Process):
    """``headcount serve``, ready to answer."""

    def __init__(self, data: Path, *arguments: object, **variables: object) -> None:
        super().__init__(data, "serve", *arguments, **variables)
        wait_until(lambda: self._is_ready() or not self.is_running, "the server to be ready")
        assert self.is_running, self.err

    @property
    def url(self) -> str:
        return self.out.partition("Headcount serves ")[2].partition("\n")[0]

    def _is_ready(self) -> bool:
        try:
            return "\n" in self.out and httpx.get(f"{self.url}/api/v2/me").status_code == 401
        except httpx.HTTPError:
            return False


class Client:
    """Talks to the API with one token; where the server is away it tries again, as any worker does."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Token {token}"}
        self._http = httpx.Client(base_url=f"{url}/api/v2/", headers=headers, timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One try."""
        return self._http.request(method, path, **options)

    def get(self, path: str, **query: Any) -> Any:
        return self._answer("GET", path, params=query).json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._answer("POST", path, json=body).json()

    def submit(self, **body: Any) -> int:
        response = self.request("POST", "jobs", json=body)
        assert response.status_code == 201, response.text
        return int(response.json()["id"])

    def claim(self, job_id: int, size: int) -> list[dict[str, Any]]:
        return list(self.post(f"jobs/{job_id}/tasks/", {"batch_size": size})["tasks"])

    def post_results(self, job_id: int, results: list[dict[str, Any]]) -> list[str]:
        answer = self.post(f"jobs/{job_id}/result/", {"results": results})
        return [item["status"] for item in answer["tasks"]]

    def status(self, job_id: int) -> str:
        return str(self.get(f"jobs/{job_id}")["status"])

    def stage(self, job_id: int, name: str) -> dict[str, Any]:
        return next(stage for stage in self.get(f"jobs/{job_id}")["stages"] if stage["stage"] == name)

    def final_status(self, job_id: int) -> str:
        """Wait for the job's end."""
        final = {"SUCCESS", "FAILURE", "REVOKED"}
        wait_until(lambda: self.status(job_id) in final, f"the end of job {job_id}")
        return self.status(job_id)

    def detections(self, job_id: int) -> list[dict[str, Any]]:
        whole = self._answer("GET", f"jobs/{job_id}/export", params={"format": "csv"}).text
        heading, *rows = (line.split(",") for line in whole.splitlines())
        return [dict(zip(heading, row, strict=True)) for row in rows]

    def attempts(self, job_id: int) -> list[int]:
        return [row["attempts"] for row in self.get(f"jobs/{job_id}/ledger", limit=1000)["results"]]

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = wait_until(lambda: self._try(method, path, **options), f"an answer to {method} {path}")
        assert response.is_success, response.text
        return response

    def _try(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        try:
            response = self.request(method, path, **options)
        except httpx.RequestError:
            return None
        return None if response.status_code == 503 else response


def result_for(task: dict[str, Any]) -> dict[str, Any]:
    """One box, labelled with the image it was found in."""
    algorithm = {"name": "Little", "key": "little"}
    classification = {"classification": f"in {task['image_id']}", "scores": [0.5], "algorithm": algorithm}
    detection = {
        "source_image_id": task["image_id"],
        "bbox": {"x1": 1, "y1": 2, "x2": 3, "y2": 4},
        "algorithm": algorithm,
        "classifications": [classification],
    }
    output = {
        "pipeline": SLUG,
        "total_time": 0.01,
        "source_images": [{"id": task["image_id"], "url": task["image_url"]}],
        "detections": [detection],
    }
    return {"reply_subject": task["reply_subject"], "result": output}


def work_through(client: Client, job_id: int, size: int, *, result: Any = result_for) -> None:
    """Claim and post until the job has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while client.status(job_id) not in {"SUCCESS", "FAILURE", "REVOKED"}:
        assert time.monotonic() < deadline, "the job never ended"
        while tasks := client.claim(job_id, size):
            client.post_results(job_id, [result(task) for task in tasks])


def assert_every_task_done_once(client: Client, job_id: int, tasks: int, *, detections: bool = True) -> None:
    """SUCCESS, every task saved, one detection for each image, and the audit finds no fault."""
    job = client.get(f"jobs/{job_id}")
    (certificate,) = job["certificates"]
    assert (job["status"], job["task_total"], certificate["counts"]["saved"]) == ("SUCCESS", tasks, tasks)
    assert all((stage["done"], stage["failed"]) == (tasks, 0) for stage in job["stages"])
    audit = client.get(f"jobs/{job_id}/audit")
    assert audit["clean"], audit
    if detections:
        found = client.detections(job_id)
        assert len(found) == len({row["image_id"] for row in found}) == tasks
        assert {row["label"] for row in found} == {f"in {row['image_id']}" for row in found}
        assert job["counts"] == {"detections": tasks}


TERM, INT = signal.SIGTERM, signal.SIGINT
