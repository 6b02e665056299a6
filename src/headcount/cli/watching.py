"""Following a job of this deployment's database to its end."""

import sys

import click
from rich.console import Console

from headcount.cli.bars import follow
from headcount.cli.output import console, job_as_json, print_job
from headcount.domain.records import JobRecord, StageProgress
from headcount.domain.states import JobState, Stage
from headcount.health.describe import describe
from headcount.store import jobs
from headcount.wiring import deployment


def watch_to_the_end(job_id: int, *, as_json: bool) -> None:
    """Follow a job in the terminal, print it, and exit 1 unless it ended SUCCESS."""
    status = follow(lambda: _look(job_id), Console(stderr=True) if as_json else console)
    job = jobs.get(job_id)
    if as_json:
        click.echo(job_as_json(job))
    else:
        print_job(job)
    if status != JobState.SUCCESS:
        sys.exit(1)


def _look(job_id: int) -> tuple[str, list[StageProgress]]:
    job: JobRecord = jobs.get(job_id)
    stages = describe(deployment(), job)["stages"]
    shown = [StageProgress(Stage(item["stage"]), item["total"], item["done"], item["failed"]) for item in stages]
    return job.status, shown
