"""The ``headcount`` command: finds its subcommands by name, and turns errors into one line and exit code 2."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from dj_database_url import ParseError, UnknownSchemeError
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from headcount import __version__
from headcount.cli.metrics_folder import one_for_all
from headcount.errors import ConfigurationError, HeadcountError


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a subcommand lives, what it is for, and whether it works on the database."""

    place: str
    purpose: str
    needs_django: bool = True


COMMANDS = {
    "demo": Entry("headcount_images.demo.command:demo", "Do a whole job before your eyes.", needs_django=False),
    "serve": Entry("headcount.cli.serve:serve", "Run the whole embedded system with one command."),
    "up": Entry("headcount.cli.up:up", "Run every process of a distributed deployment on this host."),
    "check": Entry("headcount.cli.check:check", "Tell what is wrong with a deployment before anything runs."),
    "token": Entry("headcount.cli.tokens:token", "Make the credentials that workers and scripts need."),
    "service": Entry("headcount.cli.services:service", "Name the push services that do sync_api jobs."),
    "import": Entry("headcount.cli.submitting:import_images", "Read a folder of images into a collection."),
    "submit": Entry("headcount.cli.submitting:submit", "Submit a job."),
    "cancel": Entry("headcount.cli.submitting:cancel", "Cancel a running job."),
    "retry": Entry("headcount.cli.submitting:retry", "Do again what a job has left undone."),
    "jobs": Entry("headcount.cli.looking:jobs", "List jobs."),
    "show": Entry("headcount.cli.looking:show", "Show where a job stands and why."),
    "diagnose": Entry("headcount.cli.diagnosing:diagnose", "Say what is the matter with a job, and what happens next."),
    "audit": Entry("headcount.cli.looking:audit", "Prove that every task of a job is accounted for."),
    "health": Entry("headcount.cli.health:health", "Look at every running job now; repair what needs it."),
    "export": Entry("headcount.cli.looking:export", "Write what a job saved as CSV, JSON Lines or COCO."),
    "worker": Entry("headcount_worker.cli:worker", "Claim tasks, work, post results.", needs_django=False),
    "push-server": Entry(
        "headcount_worker.push_server:push_server", "Serve pipelines to sync_api jobs.", needs_django=False
    ),
    "chaos": Entry(
        "headcount.cli.chaos:chaos", "Break things while jobs run, and check every count.", needs_django=False
    ),
    "migrate": Entry("headcount.cli.serve:migrate", "Bring the database's tables up to date."),
}
"""Loaded when they are called, so that ``--help`` answers at once."""


_DATABASES = (
    "HEADCOUNT_DATABASE_URL names no database that Headcount runs on; it looks like sqlite:////var/lib/headcount.sqlite3"
    " or postgresql://user@host/name"
)


class CommandsByName(click.Group):
    """A group that imports a subcommand when it is asked for, and complains about its input in one line."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the arguments as click does; a complaint goes without the usage text."""
        with _one_line():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; a complaint about its arguments goes without the usage text."""
        with _one_line():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the subcommand of a name, None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        _point_at_data(ctx.params.get("data_dir"))
        return _load(COMMANDS[cmd_name])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without loading what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.purpose) for name, entry in COMMANDS.items()])


@click.group(cls=CommandsByName, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="headcount")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the embedded deployment keeps its files; also HEADCOUNT_DATA_DIR.  [default: ./headcount-data]",
)
def headcount(data_dir: Path | None) -> None:
    """Batch jobs for remote workers; every task accounted for; every job ends with the right status.

    \b
    See it work:         headcount demo
    Run the system:      headcount serve
    Give it photos:      headcount import FOLDER
    Do the work:         headcount worker --server URL --token T --pipeline module:function
    Have it done:        headcount submit --pipeline SLUG --collection NAME --watch
    """  # noqa: D301 - click wants the character itself


def main() -> None:
    """Run the command line; exit 2 with one line on stderr where the input or the set-up is at fault."""
    try:
        with one_for_all() if "serve" in sys.argv else nullcontext():
            headcount(prog_name="headcount")
    except HeadcountError as error:
        _complain(str(error))
    except DatabaseError as error:
        _complain(f"the database does not answer as it should: {error}")
    except UnicodeEncodeError as error:
        _complain(f"{error.object!r} is not UTF-8")


def _load(entry: Entry) -> click.Command:
    if entry.needs_django:
        _set_django_up()
    module, _, name = entry.place.partition(":")
    command: click.Command = getattr(import_module(module), name)
    return command


def _set_django_up() -> None:
    try:
        import_module("headcount.cli.setup")
    except OSError as error:
        raise ConfigurationError(f"the data directory cannot be used: {error.filename}: {error.strerror}") from error
    except (UnknownSchemeError, ParseError, ImproperlyConfigured) as error:
        raise ConfigurationError(_DATABASES) from error


@contextmanager
def _one_line() -> Iterator[None]:
    """Take the usage text from a complaint: click prints it only for an error that knows its context."""
    try:
        yield
    except click.UsageError as error:
        # Asked for nothing, a group shows its help, which click since 8.2 treats as an error too.
        if type(error).__name__ != "NoArgsIsHelpError":
            error.ctx = None
        raise


def _complain(line: str) -> None:
    click.echo(f"headcount: {' '.join(line.split())}", err=True)
    sys.exit(2)


def _point_at_data(data_dir: Path | None) -> None:
    if data_dir is not None:
        os.environ["HEADCOUNT_DATA_DIR"] = str(data_dir.absolute())
