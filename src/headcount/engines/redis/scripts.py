"""Lua in named files, run by digest."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError


@dataclass(frozen=True, slots=True)
class Script:
    """One atomic step on the server."""

    text: str
    digest: str

    def run(self, client: Redis, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """Run it in one round trip, in two where the server does not know it yet; returns what the script returns."""
        try:
            return client.evalsha(self.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return client.eval(self.text, len(keys), *keys, *arguments)

    def run_each(self, client: Redis, calls: Sequence[tuple[Sequence[str], Sequence[str | bytes | int]]]) -> list[Any]:
        """Run it once for each call, given as keys and arguments, in one round trip; returns what each returns.

        A call that fails returns its error and leaves the others alone.
        """
        pipeline: Any = client.pipeline(transaction=False)
        pipeline.execute_command("SCRIPT", "LOAD", self.text)
        for keys, arguments in calls:
            pipeline.execute_command("EVALSHA", self.digest, len(keys), *keys, *arguments)
        answers: list[Any] = pipeline.execute(raise_on_error=False)[1:]
        return answers


def load(name: str) -> Script:
    """Return the script ``lua/<name>.lua``, opened by what every script knows of a run."""
    folder = files("headcount.engines.redis") / "lua"
    text = "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("run", name))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
