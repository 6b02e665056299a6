"""``headcount jobs``, ``show``, ``audit`` and ``export``."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from django.db.models import Q

from headcount.cli import setup
from headcount.cli.output import as_json as to_json
from headcount.cli.output import console, print_job, print_jobs
from headcount.cli.watching import watch_to_the_end
from headcount.domain.states import FINAL_STATES
from headcount.errors import BadInputError
from headcount.health.audit import audit as audit_job
from headcount.health.describe import describe
from headcount.models import JobEvent
from headcount.store import events
from headcount.store import jobs as job_rows
from headcount.wiring import deployment

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


@click.command()
@click.option("--running", is_flag=True, help="Only jobs that have not ended.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@_as_json
def jobs(limit: int, *, running: bool, as_json: bool) -> None:
    """List jobs, newest first."""
    setup.prepare_database()
    condition = ~Q(status__in=FINAL_STATES) if running else Q()
    found = job_rows.find(condition, limit=limit, newest_first=True)
    if as_json:
        click.echo(to_json([describe(deployment(), job) for job in found]))
    elif found:
        print_jobs(found)
    else:
        click.echo("there are no jobs; 'headcount submit' makes one")


@click.command()
@click.argument("job_id", type=int)
@click.option("--watch", is_flag=True, help="Follow the job to its end; exit 1 unless it is SUCCESS.")
@click.option("--log", "with_log", is_flag=True, help="Print the job's log too.")
@_as_json
def show(job_id: int, *, watch: bool, with_log: bool, as_json: bool) -> None:
    """Show where a job stands and why."""
    setup.prepare_database()
    if watch:
        watch_to_the_end(job_id, as_json=as_json)
        return
    job = job_rows.get(job_id)
    log = events.of(job_id) if with_log else ()
    if as_json:
        click.echo(to_json(describe(deployment(), job) | ({"log": _log_as_json(log)} if with_log else {})))
    else:
        print_job(job)
        _print_log(log)


@click.command()
@click.argument("job_id", type=int)
@_as_json
def audit(job_id: int, *, as_json: bool) -> None:
    """Prove from the rows themselves that every task of a job is accounted for.

    Prints the sum; names the offenders and exits 1 if it does not come out.
    """
    setup.prepare_database()
    outcome = audit_job(deployment(), job_id)
    if as_json:
        shown = {"job_id": job_id, "clean": outcome.clean, "line": outcome.line, "offences": outcome.offences}
        click.echo(json.dumps(shown))
    else:
        click.echo("\n".join([outcome.line, *[f"  {offence}" for offence in outcome.offences]]))
    if not outcome.clean:
        sys.exit(1)


@click.command()
@click.argument("job_id", type=int)
@click.option("--format", "export_format", default="csv", show_default=True, help="csv, jsonl or coco.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default="-",
    help="File to write; it is there when it is whole.  [default: the terminal]",
)
def export(job_id: int, export_format: str, output: Path) -> None:
    """Write what a job saved, to a file or to the terminal."""
    setup.prepare_database()
    kind = deployment().kind(job_rows.get(job_id).kind)
    if export_format not in kind.export_formats:
        offered = ", ".join(kind.export_formats) or "none"
        raise BadInputError(f"a {kind.name} job has no export format {export_format!r}; it has: {offered}")
    parts = kind.export(job_id, export_format)
    if output == Path("-"):
        sys.stdout.writelines(parts)
        return
    try:
        _write(output, parts)
    except OSError as error:
        raise BadInputError(f"cannot write {output}: {error.strerror or error}") from error


def _write(output: Path, parts: Iterable[str]) -> None:
    if output.exists() and not output.is_file():
        with output.open("w", encoding="utf-8", newline="") as device:
            device.writelines(parts)
    else:
        _replace(output.resolve(), parts)


def _replace(output: Path, parts: Iterable[str]) -> None:
    """Write beside the file's place and move it there when it is whole: click's atomic file replaces it in any case."""
    partial = output.with_name(f"{output.name}.part-{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.writelines(parts)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _log_as_json(log: Sequence[JobEvent]) -> list[dict[str, str]]:
    return [{"at": row.at.isoformat(), "name": row.name, "message": row.message} for row in log]


def _print_log(log: Sequence[JobEvent]) -> None:
    for row in log:
        console.print(f"  {row.at:%H:%M:%S} {row.name:<20} {row.message}", highlight=False)
