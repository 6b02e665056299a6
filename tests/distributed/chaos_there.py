"""``headcount chaos`` on a running deployment whose web processes are really killed and whose broker is really cut off.

``python -m tests.distributed.chaos_there URL FAULTS DESCRIPTOR ARGUMENTS``: the web host at the URL dies where the
directory of faults says; a proxy in front of the broker obeys the words written to the descriptor; the arguments are
those of ``headcount chaos``.
"""

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import httpx

from headcount.cli import chaos_runs
from headcount.cli.chaos import chaos
from headcount.cli.chaos_grounds import shared_ground
from headcount.domain.records import Answer, JobRecord
from headcount.domain.states import AnswerStatus, Scope
from headcount.errors import EngineUnavailableError
from headcount.store import jobs, tokens
from headcount.testing.chaos.ground import Ground
from headcount.testing.chaos.plan import Capabilities, Place
from headcount.testing.chaos.run import PROJECT
from headcount.testing.faults import ProcessDied
from tests.distributed.faults import Faults


def main() -> None:
    url, faults, descriptor, *arguments = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as control:
        ground = partial(ground_there, url, Faults(Path(faults)), control)
        with mock.patch.object(chaos_runs, "shared_ground", ground):
            chaos.main(arguments)


def ground_there(url: str, faults: Faults, control: socket.socket) -> tuple[Ground, Capabilities]:
    """The deployment of the environment, whose web processes and broker are hurt for real."""
    ground, capabilities = shared_ground()
    token = tokens.create(jobs.ensure_project(PROJECT), "chaos", [Scope.WORK])
    ground.web = WebThere(url, token, faults)
    ground.cuts = {"dispatcher": partial(broker_cut, control)}
    return ground, capabilities


@contextmanager
def broker_cut(control: socket.socket) -> Iterator[None]:
    """Have every connection to the broker broken, and none made anew."""
    say(control, "cut")
    try:
        yield
    finally:
        say(control, "mend")


def say(control: socket.socket, word: str) -> None:
    """Return once the proxy has done it."""
    control.sendall(f"{word}\n".encode())
    if not control.recv(1):
        raise SystemExit("nobody obeys at the other end")


class WebThere:
    """Web processes on their own, over HTTP; they die by signal 9 where they are told to."""

    def __init__(self, url: str, token: str, faults: Faults) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._faults = faults

    def arm(self, place: Place) -> None:
        self._faults.arm(str(place))

    def mend(self) -> None:
        self._faults.disarm()

    def claim(self, job: JobRecord, limit: int, worker: str) -> list[str]:
        answer = self._post(f"jobs/{job.id}/tasks", {"batch_size": limit, "worker": worker})
        return [task["reply_subject"] for task in answer["tasks"]]

    def receive(self, job: JobRecord, bodies: Sequence[dict[str, Any]]) -> list[Answer]:
        answer = self._post(f"jobs/{job.id}/result", {"results": list(bodies)})
        return [
            Answer(item["reply_subject"], AnswerStatus(item["status"]), item["task_id"]) for item in answer["tasks"]
        ]

    def _post(self, path: str, body: Any) -> dict[str, Any]:
        """Post once; whoever does not answer has died."""
        url = f"{self._url}/api/v2/{path}"
        try:
            response = httpx.post(url, json=body, headers=self._headers, timeout=60, verify=False)
        except httpx.TransportError as error:
            raise ProcessDied(f"no answer: {error!r}") from error
        if response.is_server_error:
            raise EngineUnavailableError(response.text)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


if __name__ == "__main__":
    main()
