"""One embedded deployment as its users have it: real processes on one data directory, asked over HTTP.

The database is read directly, so that what a test believes does not depend on the server that it ill-treats.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from headcount.parentage import die_with_parent
from headcount.testing.waiting import PATIENCE_SECONDS, wait_until

_LONGER_THAN_ANY_WRITE_SECONDS = 0.5
_FOR_EVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x > 0) SELECT count(*) FROM n"
_HEADCOUNT = (sys.executable, "-m", "headcount")


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment of a user: nothing of the test run's own settings in it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HEADCOUNT_", "DJANGO_"))}
    return {**inherited, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error", **variables}


def run_headcount(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a ``headcount`` command to its end."""
    environment = clean_environment(HEADCOUNT_DATA_DIR=str(data_dir))
    return subprocess.run(
        [*_HEADCOUNT, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def processes_of(data_dir: Path) -> dict[int, str]:
    """Every living process that has this directory in its environment or on its command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if os.fsencode(data_dir) in (folder / "environ").read_bytes() + command:
                found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def draw_images(folder: Path, number: int) -> Path:
    """Draw as many small images, no two alike."""
    folder.mkdir(parents=True)
    for position in range(number):
        picture = Image.new("RGB", (8 + position % 50, 8), (position % 256, position // 256, 90))
        picture.save(folder / f"{position:05}.png")
    return folder


class Processes:
    """The ``headcount`` processes of one data directory; their output goes to files beside it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._logs = data_dir.with_name(f"{data_dir.name}-output")
        self._logs.mkdir()
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, so that a signal for it reaches nobody else."""
        environment = clean_environment(HEADCOUNT_DATA_DIR=str(self.data_dir), **variables)
        with self._file(name, "out").open("ab") as out, self._file(name, "err").open("ab") as err:
            process = subprocess.Popen(
                [*_HEADCOUNT, *arguments],
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - a test run that is killed leaves nothing either
            )
        self._started.append((name, process))
        return process

    def latest(self, name: str) -> subprocess.Popen[bytes]:
        """The process that was started last under a name."""
        return next(process for known, process in reversed(self._started) if known == name)

    def kill(self, name: str) -> None:
        """``kill -9`` the process that was started last under a name."""
        process = self.latest(name)
        process.kill()
        process.wait(PATIENCE_SECONDS)

    def output(self, name: str) -> str:
        """What the processes of this name have printed to stdout so far."""
        return self._file(name, "out").read_text()

    def complaints(self, name: str) -> str:
        """What the processes of this name have printed to stderr so far."""
        return self._file(name, "err").read_text()

    def kill_all(self) -> None:
        """End everything that was started, with all its descendants."""
        for _, process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_SECONDS)

    def _file(self, name: str, kind: str) -> Path:
        return self._logs / f"{name}.{kind}"


class System:
    """A data directory with a project, a token, and a server that can be started, killed and started again."""

    def __init__(self, data_dir: Path, port: int, token: str, project_id: int) -> None:
        self.data_dir = data_dir
        self.port = port
        self.token = token
        self.project_id = project_id
        self.url = f"http://127.0.0.1:{port}"
        self.processes = Processes(data_dir)
        # A connection that is kept would be one to a server that is dead by the next request. Reading the machine's
        # certificates, which a client would for servers that have one, costs more than many requests.
        self._http = httpx.Client(
            verify=False,
            base_url=f"{self.url}/api/v2/",
            headers={"Authorization": f"Bearer {token}"},
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=PATIENCE_SECONDS,
        )

    def close(self) -> None:
        self._http.close()
        self.processes.kill_all()

    def serve(self, *, processes: int | None = 1, **variables: str) -> subprocess.Popen[bytes]:
        """Start the server and return once it answers; with None for ``processes``, as many as it sees fit.

        One is enough for most tests, and each further one costs a second of computing to start.
        """
        number = () if processes is None else ("--processes", str(processes))
        server = self.processes.start("serve", "serve", "--port", str(self.port), *number, **variables)
        wait_until(lambda: self._answers(server), "the server answers")
        return server

    def _answers(self, server: subprocess.Popen[bytes]) -> bool:
        assert server.poll() is None, self.processes.complaints("serve")
        with suppress(httpx.TransportError):
            return self._http.get("me").is_success
        return False

    def worker(self, folder: Path, name: str) -> subprocess.Popen[bytes]:
        """Start a worker process on the gated pipeline of a folder."""
        arguments = ("worker", "--pipeline", f"{folder / 'gated.py'}:find", "--batch-size", "4", "--wait-seconds", "1")
        return self.processes.start(name, *arguments, HEADCOUNT_SERVER=self.url, HEADCOUNT_TOKEN=self.token)

    def get(self, path: str, **query: Any) -> Any:
        return self._checked(self._http.get(path, params=query))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._checked(self._http.post(path, json=body))

    def _checked(self, response: httpx.Response) -> Any:
        assert response.is_success, response.text
        return response.json()

    def start_import(self, folder: Path) -> int:
        """Submit the import of a folder into the collection of its name."""
        return int(self.post("jobs", {"kind": "import_images", "config": {"directory": str(folder)}})["id"])

    def detection_job(self, collection: str) -> int:
        """Submit a job for the pipeline ``gated`` and return once its tasks can be claimed."""
        offer = {"processing_service_name": "test", "pipelines": [{"name": "gated", "slug": "gated"}]}
        self.post(f"projects/{self.project_id}/pipelines", offer)
        body = {"kind": "ml", "pipeline": "gated", "config": {"collection": collection}}
        job = int(self.post("jobs", body)["id"])
        published = "SELECT 1 FROM headcount_job WHERE id = ? AND published_at IS NOT NULL"
        wait_until(lambda: self.rows(published, job), "the tasks are in the queue")
        return job

    def detection_job_of(self, folder: Path, images: int) -> int:
        """Draw images, import them, and submit a detection job for them."""
        self.wait_for(self.start_import(draw_images(folder, images)), "SUCCESS")
        return self.detection_job(folder.name)

    def wait_for(self, job: int, status: str) -> None:
        """Return once a job has ended; it must have ended so."""
        ended = "SELECT status FROM headcount_job WHERE id = ? AND finished_at IS NOT NULL"
        ((found,),) = wait_until(lambda: self.rows(ended, job), f"job {job} has ended")
        assert found == status

    def claim(self, job: int, number: int, worker: str = "by hand") -> list[dict[str, Any]]:
        """Claim tasks as a worker does."""
        return list(self.post(f"jobs/{job}/tasks", {"batch_size": number, "worker": worker})["tasks"])

    def post_results(self, job: int, results: list[Any]) -> list[dict[str, Any]]:
        """Post results as a worker does; returns the answer for each."""
        return list(self.post(f"jobs/{job}/result", {"results": results})["tasks"])

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Read the database as it stands, whether or not the server lives."""
        with closing(self.connection()) as connection:
            return connection.execute(sql, parameters).fetchall()

    def number(self, sql: str, *parameters: Any) -> int:
        """Return the one number that a query gives."""
        ((number,),) = self.rows(sql, *parameters)
        return int(number)

    def states(self, job: int) -> dict[str, int]:
        """Count a job's tasks by state."""
        return dict(self.rows("SELECT state, count(*) FROM headcount_task WHERE job_id = ? GROUP BY state", job))

    def change(self, sql: str, *parameters: Any) -> None:
        """Change the database behind the server's back."""
        with closing(self.connection()) as connection, connection:
            connection.execute(sql, parameters)

    def connection(self, patience: float = PATIENCE_SECONDS) -> sqlite3.Connection:
        """A connection to the database, to be closed."""
        return sqlite3.connect(self.data_dir / "headcount.sqlite3", timeout=patience)

    def hang_at(self, write: str) -> None:
        """Have the server hang at the first write of a kind (``INSERT ON table WHEN ...``), in mid-transaction."""
        self.change(f"CREATE TRIGGER hang BEFORE {write} BEGIN SELECT ({_FOR_EVER}); END")

    def kill_once_it_hangs(self) -> None:
        """``kill -9`` the server when it has reached that write, and take the obstacle away."""
        wait_until(self._somebody_keeps_the_lock, "the server hangs")
        self.processes.kill("serve")
        self.change("DROP TRIGGER hang")

    def _somebody_keeps_the_lock(self) -> bool:
        with closing(self.connection(patience=_LONGER_THAN_ANY_WRITE_SECONDS)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
        return False


def result_of(task: Mapping[str, Any]) -> dict[str, Any]:
    """The result that the gated pipeline has for a task: two detections, each with one classification."""
    image = str(task["image_id"])
    algorithm = {"key": "gated", "name": "gated"}
    timestamp = "2026-01-01T00:00:00Z"
    moth = {"classification": "moth", "scores": [0.9], "algorithm": algorithm, "timestamp": timestamp}
    detections = [
        {
            "source_image_id": image,
            "bbox": {"x1": 0, "y1": 0, "x2": 1 + position, "y2": float(image)},
            "algorithm": algorithm,
            "timestamp": timestamp,
            "classifications": [moth],
        }
        for position in range(2)
    ]
    result = {"pipeline": "gated", "total_time": 0.1, "source_images": [{"id": image}], "detections": detections}
    return {"reply_subject": task["reply_subject"], "result": result}


def as_bytes(rows: Any) -> bytes:
    """Rows in a form that is equal only where every value is."""
    return json.dumps(rows).encode()
