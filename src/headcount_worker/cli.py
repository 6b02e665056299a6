"""The command line of a worker."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from headcount_worker.errors import StartError
from headcount_worker.logs import configure_logs
from headcount_worker.loop import Worker
from headcount_worker.pipeline import Pipeline
from headcount_worker.resolve import resolve_all
from headcount_worker.settings import WorkerSettings, server_address, usable_token
from headcount_worker.signals import run_until_signalled
from headcount_worker.stopping import Stopping

HELP = """Run pipelines on images that a Headcount server hands out.

The worker claims tasks over HTTPS, downloads their images, runs your function on each, and posts what it found. It
needs no open port. Start as many as you like; each task goes to one of them.

\b
A pipeline is a decorated function:
    from headcount_worker import Detection, pipeline
    @pipeline(slug="moths", name="Moth finder")
    def find_moths(image):
        for x1, y1, x2, y2, score in my_model(image.content):
            yield Detection.at(x1, y1, x2, y2, label="moth", score=score)

\b
Examples:
    export HEADCOUNT_SERVER=https://headcount.example.org HEADCOUNT_TOKEN=...
    headcount-worker --pipeline my_module:find_moths
    headcount-worker --pipeline pipelines/moths.py:find_moths --batch-size 32
    headcount-worker --pipeline a:find --pipeline b:find --exit-when-idle 60

SIGTERM or Ctrl-C lets it finish the image in work, post what it has, and give the rest back; a second one exits at
once. While the server is away it keeps its results and tries again.

\b
Exit codes:
    0  ended in good order
    1  results were lost, or an unexpected error
    2  bad input, or the server refuses this worker
"""


class OneLineCommand(click.Command):
    """A command whose complaints about its input are one line on stderr, with exit code 2."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the arguments as click does; raises UsageError without the usage text that would go before it."""
        try:
            return super().make_context(*arguments, **options)
        except click.UsageError as error:
            # click prints the usage only for an error that knows its context.
            error.ctx = None
            raise


class BadInput(click.ClickException):
    """Bad input, told in one line."""

    exit_code = 2


@click.command("worker", cls=OneLineCommand, help=HELP, short_help="Run pipelines for a Headcount server.")
@click.option("--server", envvar="HEADCOUNT_SERVER", show_envvar=True, metavar="URL", help="The server's address.")
@click.option(
    "--token",
    envvar="HEADCOUNT_TOKEN",
    show_envvar=True,
    help="A token with the scope 'work'. Prefer the variable: other users of the machine can see arguments.",
)
@click.option(
    "--pipeline",
    "references",
    multiple=True,
    metavar="MODULE:FUNCTION",
    help="A pipeline to offer, also as path/to/file.py:function. Give it again for more.",
)
@click.option("--batch-size", type=click.IntRange(1, 1000), default=8, show_default=True, help="Tasks in one claim.")
@click.option("--name", help="The processing service's name on the server.  [default: the host's name]")
@click.option("--once", is_flag=True, help="Work through one batch, or find none, and exit.")
@click.option(
    "--exit-when-idle",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Exit after so long without a task.  [default: never]",
)
@click.option(
    "--wait-seconds",
    type=click.FloatRange(min=0, max=60),
    default=5.0,
    show_default=True,
    help="How long one claim waits for tasks; an idle worker takes up to this long to stop.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    help="How long a stopping worker tries to post its results to a server that is away.",
)
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
def worker(**options: Any) -> None:
    """Run pipelines on images that a Headcount server hands out."""
    configure_logs(as_json=options["log_json"])
    try:
        pipelines = _pipelines(options["references"])
        settings = _settings(options)
    except StartError as error:
        raise BadInput(str(error)) from error
    stopping = Stopping()
    sys.exit(run_until_signalled(Worker(settings, pipelines, stopping).run, stopping))


def main() -> None:
    """Run the worker as the command ``headcount-worker``."""
    worker(prog_name="headcount-worker")


def _pipelines(references: Sequence[str]) -> list[Pipeline]:
    if not references:
        raise StartError("no pipeline: give --pipeline module:function")
    return resolve_all(references)


def _settings(options: dict[str, Any]) -> WorkerSettings:
    if not options["server"]:
        raise StartError("no server: give --server, or set HEADCOUNT_SERVER")
    named = {"service_name": options["name"]} if options["name"] else {}
    return WorkerSettings(
        server=server_address(options["server"]),
        token=usable_token(options["token"] or ""),
        batch_size=options["batch_size"],
        wait_seconds=options["wait_seconds"],
        drain_seconds=options["drain_seconds"],
        exit_when_idle=options["exit_when_idle"],
        once=options["once"],
        **named,
    )
