"""Real processes on a data directory of their own; whatever happens, none is left running."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture

from tests.embedded.plain.system import SLUG, Client, Process, Server, environment, free_port

IMAGES = 40


@dataclass(frozen=True)
class Prepared:
    """A data directory with tables, a token and a collection, to be copied by each test."""

    data: Path
    token: str
    project_id: int


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "night"
    folder.mkdir()
    for number in range(IMAGES):
        Picture.new("RGB", (32, 24), (number, 0, 0)).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, photos) -> Prepared:
    """Made by the commands that a person would type."""
    data = tmp_path_factory.mktemp("prepared") / "data"
    scopes = ["--scope", "work", "--scope", "submit", "--scope", "read"]
    made = subprocess.run(
        [sys.executable, "-m", "headcount", "token", "create", "--json", *scopes],
        env=environment(data),
        capture_output=True,
        check=True,
    )
    token = json.loads(made.stdout)
    server = Server(data, "--port", free_port())
    client = Client(server.url, token["token"])
    job_id = client.submit(kind="import_images", config={"directory": str(photos)})
    assert client.final_status(job_id) == "SUCCESS"
    offer = {"processing_service_name": "box", "pipelines": [{"name": "Little", "slug": SLUG}]}
    client.post(f"projects/{token['project_id']}/pipelines", offer)
    client.close()
    server.signal(15)
    assert server.exit_code() == 0
    return Prepared(data, token["token"], token["project_id"])


class Deployment:
    """The processes of one test."""

    def __init__(self, data: Path, token: str, project_id: int) -> None:
        self.data = data
        self.token = token
        self.project_id = project_id
        self.port = free_port()
        self.gate = data / "gate"
        self._processes: list[Process] = []
        self._clients: list[Client] = []

    def serve(self, *arguments: object, **variables: object) -> Server:
        """Start the server on the deployment's port."""
        return self._kept(Server(self.data, *(arguments or ("--port", self.port)), **variables))

    def run(self, *arguments: object, **variables: object) -> Process:
        """Start any other command."""
        return self._kept(Process(self.data, *arguments, **variables))

    def worker(self, *arguments: object, **variables: object) -> Process:
        """Start a worker of the SDK with the pipeline of these tests."""
        fixed = ["--server", f"http://127.0.0.1:{self.port}", "--token", self.token]
        place = Path(__file__).parent / "pipelines.py"
        return self.run("worker", *fixed, "--pipeline", f"{place}:little", *arguments, **variables)

    def client(self, url: str | None = None, token: str | None = None) -> Client:
        client = Client(url or f"http://127.0.0.1:{self.port}", token or self.token)
        self._clients.append(client)
        return client

    def submit(self, client: Client, **options: Any) -> int:
        """A job over the forty images."""
        return client.submit(pipeline=SLUG, dispatch_mode="async_api", config={"collection": "night"}, **options)

    def end(self) -> None:
        self.gate.unlink(missing_ok=True)
        for client in self._clients:
            client.close()
        for process in self._processes:
            process.end()

    def _kept(self, process: Any) -> Any:
        self._processes.append(process)
        return process

    def complaints(self) -> list[str]:
        """Tracebacks that any process wrote."""
        return [process.err for process in self._processes if "Traceback" in process.err]


@pytest.fixture
def deployment(prepared, tmp_path) -> Iterator[Deployment]:
    data = tmp_path / "data"
    shutil.copytree(prepared.data, data)
    made = Deployment(data, prepared.token, prepared.project_id)
    yield made
    made.end()
    assert made.complaints() == []
