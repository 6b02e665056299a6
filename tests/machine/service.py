"""A push service of a small world: no server, and it answers as it is told to or not at all."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx
from django.db import connection

from headcount.testing.faults import ProcessDied

_numbers = count(1)
_at_address: dict[str, "PushedTo"] = {}

RESULTS: dict[str, Any] = {
    "note": {"note": "done"},
    "error": {"error": "it went wrong"},
    "poison": {"poison": "cannot be saved"},
    "unfit": {"something": "else"},
    "note of another task": {"note": "done", "key": "k999"},
}
ANSWERS = (*RESULTS, "half", "twice", "nothing", "refused", "broken", "silence", "killed")
"""How a service can answer a batch: each task alike, or a whole that is no good, or never, to a process that ends."""

answered: Counter[str] = Counter()
"""How often the services of this test process answered in which way."""


class PushedTo:
    """Answers at ``url`` with what is planned, in order, and with notes from then on; ``asked`` are the batches' keys.

    Args:
        at: called before each answer, so that others can act while the dispatcher waits.
    """

    def __init__(self, at: Callable[[str], None]) -> None:
        host = f"service-{next(_numbers)}"
        self.url = f"http://{host}"
        self.planned: list[str] = []
        self.asked: list[list[str]] = []
        self._at = at
        _at_address.clear()
        _at_address[host] = self

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert not connection.in_atomic_block, "a service is asked with a transaction open"
        keys = [task["id"] for task in json.loads(request.content)["tasks"]]
        self.asked.append(keys)
        self._at("process")
        word = self.planned.pop(0) if self.planned else "note"
        answered[word] += 1
        match word:
            case "refused" | "broken":
                return httpx.Response({"refused": 422, "broken": 500}[word], text=word)
            case "silence":
                raise httpx.ReadTimeout("nothing came", request=request)
            case "killed":
                raise ProcessDied(word)
        return httpx.Response(200, json={"results": _results(word, keys)})


def _results(word: str, keys: list[str]) -> Any:
    match word:
        case "nothing":
            return None
        case "half":
            keys = keys[: len(keys) // 2]
        case "twice":
            keys = [*keys, *keys, "k999"]
    return [{"id": key, "result": RESULTS.get(word, RESULTS["note"])} for key in keys]


def transport() -> httpx.MockTransport:
    """Return what brings a request to the service at its address."""
    return httpx.MockTransport(lambda request: _at_address[request.url.host].answer(request))
