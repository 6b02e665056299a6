"""The steps of the demo, in order."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from headcount.cli.bars import follow
from headcount.domain.states import JobState
from headcount.errors import BadInputError, HeadcountError, TemporaryError
from headcount_images.demo.client import Client
from headcount_images.demo.processes import Processes
from headcount_images.pictures.sample_night import SampleNight, draw_sample_night

PIPELINE = "light-sheet-blobs"
_PIPELINE_FUNCTION = "headcount_worker.examples.light_sheet_blobs:light_sheet_blobs"
_SCOPES = ("submit", "work", "read")
_START_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.1
_MOST_FAILURES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Photos:
    """The photos to work on; ``night`` is the truth about them where they were drawn."""

    directory: Path
    night: SampleNight | None


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers, and how to talk to it."""

    url: str
    token: str
    project_id: int
    client: Client


def gather_photos(folder: Path | None, data_dir: Path, images: int, seed: int, console: Console) -> Photos:
    """Return the user's own photos, or draw a sample night.

    Raises:
        BadInputError: the folder named is not there.
    """
    if folder is not None:
        if not folder.is_dir():
            raise BadInputError(f"there is no folder {folder}")
        return Photos(folder.absolute(), None)
    console.print(f"drawing a sample night of {images} synthetic photos (seed {seed}) ...")
    night = draw_sample_night(data_dir / f"sample-night-{images}-{seed}", images=images, seed=seed)
    return Photos(night.directory, night)


def start_server(processes: Processes, console: Console) -> Running:
    """Start the embedded system and return once it answers, with a token of its own.

    Raises:
        HeadcountError: it does not come up.
    """
    server = processes.start("serve", ["serve"])
    first_line = server.stdout.readline() if server.stdout else ""
    if not first_line.startswith("Headcount serves "):
        raise HeadcountError(f"the server does not come up; {processes.log_of('serve')} says why")
    url = first_line.split()[-1]
    console.print(f"the embedded system serves {url} (API documentation: {url}/api/v2/docs)", soft_wrap=True)
    scopes = [part for scope in _SCOPES for part in ("--scope", scope)]
    made = json.loads(
        processes.output_of(["token", "create", "--name", "demo", "--project", "demo", *scopes, "--json"])
    )
    return Running(url, made["token"], made["project_id"], Client(url, made["token"]))


def import_photos(running: Running, photos: Photos, console: Console) -> str:
    """Import the photos in a job of its own and return the name of their collection.

    Raises:
        HeadcountError: too few could be read.
    """
    collection = f"{photos.directory.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
    config = {"directory": str(photos.directory), "collection": collection}
    job = running.client.post("jobs", {"kind": "import_images", "name": "import", "config": config})
    console.print(f"\n[bold]job {job['id']}[/]: import the photos (internal: the dispatcher does it)")
    status = follow(lambda: running.client.look(job["id"]), console)
    print_failures(running, job["id"], console)
    if status != JobState.SUCCESS:
        raise HeadcountError(f"the import ended {status}; without photos there is nothing to do")
    return collection


def start_workers(running: Running, processes: Processes, number: int, console: Console) -> None:
    """Start worker processes and return once the server knows their pipeline.

    Raises:
        HeadcountError: none registers in time.
    """
    console.print(f"\nstarting {number} worker processes; they reach the server over HTTP only")
    secrets = {"HEADCOUNT_SERVER": running.url, "HEADCOUNT_TOKEN": running.token}
    for position in range(1, number + 1):
        arguments = ["worker", "--pipeline", _PIPELINE_FUNCTION, "--name", "demo", "--wait-seconds", "2"]
        processes.start(f"worker-{position}", arguments, secrets)
    deadline = time.monotonic() + _START_SECONDS
    while PIPELINE not in running.client.get(f"projects/{running.project_id}/pipelines")["pipelines"]:
        processes.complain_if_ended()
        if time.monotonic() > deadline:
            raise HeadcountError(f"no worker registered within {_START_SECONDS:g} s; their logs say why")
        time.sleep(_LOOK_EVERY_SECONDS)


def detect(running: Running, collection: str, processes: Processes, console: Console) -> dict[str, Any]:
    """Submit the detection job, show it to its end, and return it."""
    body = {"kind": "ml", "pipeline": PIPELINE, "name": f"detect {collection}", "config": {"collection": collection}}
    job_id = running.client.post("jobs", body)["id"]
    console.print(f"\n[bold]job {job_id}[/]: run {PIPELINE} on every photo (async_api: the workers pull)")

    def look() -> Any:
        processes.complain_if_ended()
        return _look_patiently(running, job_id)

    follow(look, console)
    print_failures(running, job_id, console)
    job: dict[str, Any] = running.client.get(f"jobs/{job_id}")
    return job


def print_failures(running: Running, job_id: int, console: Console) -> None:
    """Print why tasks failed, if any did."""
    for failure in running.client.failures(job_id, _MOST_FAILURES_SHOWN):
        console.print(f"  [red]task {failure['id']} failed:[/] {failure['error']}", highlight=False)


def _look_patiently(running: Running, job_id: int) -> Any:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return running.client.look(job_id)
        except TemporaryError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_EVERY_SECONDS)
