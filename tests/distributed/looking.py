"""A process that runs ``headcount health`` whenever it is told to: ``python -m tests.distributed.looking``.

A process for each look would load for a second what takes a few milliseconds to look.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from headcount.cli.main import headcount
from tests.distributed.site import Site

COMMAND = ["health", "--json"]
ENDED = "ended: "


class Looker:
    """Has the process of a deployment look, and waits until it has."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self) -> None:
        """Run the command once; it must end well."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("look\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            said.append(line)
            if line.startswith(ENDED):
                break
        assert said[-1:] == [f"{ENDED}0\n"], said


@contextmanager
def looker(site: Site) -> Iterator[Looker]:
    """Run the process on a deployment; what it complains of goes to a log of the site."""
    with (
        (site.folder / "looker.log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=site.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        yield Looker(process)


def main() -> None:
    """Run the command for every line of input, and say how each ended."""
    for _ in sys.stdin:
        try:
            headcount(COMMAND, standalone_mode=False)
            code: object = 0
        except SystemExit as leaving:
            code = leaving.code or 0
        print(f"{ENDED}{code}", flush=True)


if __name__ == "__main__":
    main()
