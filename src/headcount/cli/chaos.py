"""``headcount chaos``."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import click

from headcount.conf import load_settings
from headcount.errors import ForbiddenError

EMBEDDED = "embedded"
HERE = "here"
_PREFIX = "HEADCOUNT_"
_LARGEST_SEED = 2**31 - 1


@click.command()
@click.option("--seed", type=click.IntRange(0, _LARGEST_SEED), default=1, show_default=True, help="The first run's.")
@click.option("--runs", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many, a seed each.")
@click.option("--jobs", type=click.IntRange(1, 100), default=1, show_default=True, help="Jobs beside each other.")
@click.option("--tasks", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Tasks of each job.")
@click.option(
    "--deployment",
    type=click.Choice([EMBEDDED, HERE]),
    default=EMBEDDED,
    show_default=True,
    help="A throw-away embedded one, or the one of the environment, which must allow it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each job, for scripts.")
def chaos(seed: int, runs: int, jobs: int, tasks: int, deployment: str, *, as_json: bool) -> None:
    """Break things while jobs run, and check that every task is accounted for.

    Each run draws from its seed what goes wrong and when: killed workers, web processes and dispatchers, lost state and
    queues, brokers that are away, posts that are doubled or late, clocks that jump. Then it works the jobs off and
    checks that nothing is lost or counted twice and that each job ended as it must. Exits 1 unless all held, and says
    what replays a failure.

    A deployment of your own is only touched where HEADCOUNT_CHAOS_ALLOWED is true for it.
    """
    with _place(deployment):
        runner = import_module("headcount.cli.chaos_runs")
        held = runner.run_all(seed=seed, runs=runs, jobs=jobs, tasks=tasks, here=deployment == HERE, as_json=as_json)
    if not held:
        sys.exit(1)


@contextmanager
def _place(deployment: str) -> Iterator[None]:
    """Have the environment name the deployment to work on.

    Raises:
        ForbiddenError: it does not allow chaos.
    """
    if deployment == HERE:
        _demand_permission()
        yield
        return
    with tempfile.TemporaryDirectory(prefix="headcount-chaos-", ignore_cleanup_errors=True) as folder:
        for name in [name for name in os.environ if name.startswith(_PREFIX)]:
            del os.environ[name]
        os.environ["HEADCOUNT_DATA_DIR"] = str(Path(folder).absolute())
        yield


def _demand_permission() -> None:
    if not load_settings().chaos_allowed:
        raise ForbiddenError(
            "chaos destroys what a deployment holds: set HEADCOUNT_CHAOS_ALLOWED=true for every process of one that may"
            " be broken, or leave out '--deployment here'"
        )
