"""How the command line shows jobs."""

import json
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from headcount.domain.records import JobRecord
from headcount.health.describe import describe
from headcount.wiring import deployment

console = Console()
_STATUS_STYLES = {"SUCCESS": "green", "FAILURE": "red", "REVOKED": "yellow"}


def as_json(value: Any) -> str:
    """Return a value as indented JSON; times in ISO 8601."""
    return json.dumps(value, indent=2, default=lambda item: item.isoformat())


def job_as_json(job: JobRecord) -> str:
    """Return a job as JSON."""
    return as_json(describe(deployment(), job))


def styled_status(status: str) -> str:
    """Return a status with the colour it is shown in."""
    return f"[{_STATUS_STYLES.get(status, 'cyan')}]{status}[/]"


def print_job_line(job: JobRecord) -> None:
    """Print a job in one line."""
    click.echo(f"job {job.id}: {job.status} ({job.kind}, {job.dispatch_mode}); look with 'headcount show {job.id}'")


def print_jobs(found: Iterable[JobRecord]) -> None:
    """Print jobs as a table."""
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "status", "kind", "pipeline", "tasks", "submitted", "name"):
        table.add_column(heading, justify="right" if heading in {"id", "tasks"} else "left")
    for job in found:
        table.add_row(
            str(job.id),
            styled_status(job.status),
            job.kind,
            job.pipeline or "-",
            "?" if job.task_total is None else str(job.task_total),
            f"{job.created_at:%Y-%m-%d %H:%M:%S}",
            job.name,
        )
    console.print(table)


def print_job(job: JobRecord) -> None:
    """Print everything about a job."""
    shown = describe(deployment(), job)
    console.print(f"[bold]job {job.id}[/] {job.name!r}: {styled_status(job.status)}", highlight=False)
    console.print(f"  {job.kind}, {job.dispatch_mode}, pipeline {job.pipeline or '-'}, run {job.run}", highlight=False)
    console.print(stage_table(shown["stages"]))
    if shown["bound"]:
        console.print(f"  {shown['bound']['says']}", highlight=False)
    for name, number in shown["counts"].items():
        console.print(f"  {name}: {number}", highlight=False)
    for certificate in shown["certificates"]:
        print_certificate(certificate)


def stage_table(stages: Iterable[dict[str, Any]]) -> Table:
    """Return the stages of a job as a table."""
    table = Table(box=None, pad_edge=True)
    for heading in ("stage", "done", "failed", "total"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in stages:
        total = "?" if stage["total"] is None else str(stage["total"])
        table.add_row(stage["stage"], str(stage["done"]), str(stage["failed"]), total)
    return table


def print_certificate(certificate: dict[str, Any]) -> None:
    """Print a verdict with its arithmetic."""
    status = styled_status(certificate["status"])
    console.print(f"  verdict of run {certificate['run']}: {status}: {certificate['arithmetic']}", highlight=False)
    console.print(f"    because {certificate['reason']}", highlight=False)
