"""Jobs that are pushed to a service, which answers when a test lets it."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Barrier, Event
from typing import Any

from tests.distributed.live import Live
from tests.flow.given import output
from tests.push.scripted_service import ScriptedService

SLUG = "pushed-blobs"
_PATIENCE_SECONDS = 60


class Gate:
    """Answers each batch with what was found in it, once it is open; ``passes`` batches go through a closed one."""

    def __init__(self) -> None:
        self.is_open = Event()
        self.is_open.set()
        self.passes = 0

    def close(self, passes: int = 0) -> None:
        """Hold what comes from now on, but for so many batches."""
        self.passes = passes
        self.is_open.clear()

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        if self.passes:
            self.passes -= 1
        else:
            self.is_open.wait(_PATIENCE_SECONDS)
        return _found_in(body)


class Pair:
    """Answers batches two at a time: who asks alone is answered with an error in the end."""

    def __init__(self) -> None:
        self._both = Barrier(2, timeout=_PATIENCE_SECONDS)

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        self._both.wait()
        return _found_in(body)


@contextmanager
def push_service(on: Live, gate: Gate) -> Iterator[ScriptedService]:
    """Run a push service that is registered with a deployment; its gate is open in the end."""
    with ScriptedService(gate.answer).running() as scripted:
        on.site.run("headcount", "service", "add", "--name", "pushed", "--url", scripted.url, "--pipeline", SLUG)
        try:
            yield scripted
        finally:
            gate.is_open.set()


def submit_pushed(on: Live, tasks: int) -> int:
    """Submit a ``sync_api`` job of so many tasks for the service."""
    request = {"kind": "ml", "dispatch_mode": "sync_api", "pipeline": SLUG}
    return int(on.api.post("jobs", {**request, "config": {"collection": on.collection(tasks)}})["id"])


def _found_in(body: dict[str, Any]) -> tuple[int, Any]:
    found = [output(str(image["id"]))["detections"] for image in body["source_images"]]
    answer = {"pipeline": SLUG, "total_time": 0.1, "source_images": body["source_images"], "errors": []}
    return 200, {**answer, "detections": [item for of_one in found for item in of_one]}
