"""``headcount diagnose``: why a job stands where it stands, and what happens next."""

from collections.abc import Iterable

import click
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from headcount.cli import setup
from headcount.cli.output import as_json as to_json
from headcount.cli.output import console, styled_status
from headcount.health.diagnose import Diagnosis, as_document
from headcount.health.diagnose import diagnose as diagnose_job
from headcount.health.finding import Condition, Finding
from headcount.health.testimony import Statement
from headcount.wiring import deployment

_UNTROUBLED = frozenset({Condition.HEALTHY, Condition.ENDED})


@click.command()
@click.argument("job_id", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def diagnose(job_id: int, *, as_json: bool) -> None:
    """Say why a job stands where it stands, who says so, and what happens next.

    Every witness is asked: job row, ledger, state manager, queue, dispatcher, workers. Nothing is changed; the health
    loop does what is said here by itself.
    """
    setup.prepare_database()
    diagnosis = diagnose_job(deployment(), job_id)
    if as_json:
        click.echo(to_json(as_document(diagnosis)))
    else:
        _print(diagnosis)


def _print(diagnosis: Diagnosis) -> None:
    job = diagnosis.job
    heading = f"[bold]job {job.id}[/] {escape(repr(job.name))}: {styled_status(escape(job.status))}"
    console.print(heading, highlight=False, soft_wrap=True)
    _print_finding(diagnosis.headline)
    for finding in diagnosis.besides:
        _print_finding(finding)
    console.print()
    console.print(_witness_table(diagnosis.witnesses))


def _print_finding(finding: Finding) -> None:
    colour = "green" if finding.condition in _UNTROUBLED else "yellow"
    _print_indented(f"[{colour}]{finding.condition.replace('_', ' ')}[/]: {escape(finding.explanation)}", 2)
    if finding.next_step:
        _print_indented(f"next: {escape(finding.next_step)}{_due(finding)}", 4)
    if finding.command:
        _print_indented(f"now: [bold]{escape(finding.command)}[/]", 4)


def _due(finding: Finding) -> str:
    return f" (by {finding.due:%Y-%m-%d %H:%M:%S} UTC)" if finding.due else ""


def _print_indented(line: str, columns: int) -> None:
    console.print(Padding.indent(line, columns), highlight=False)


def _witness_table(witnesses: Iterable[Statement]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("witness", no_wrap=True)
    table.add_column("says")
    for item in witnesses:
        says = escape(item.says)
        table.add_row(item.witness, f"[yellow]silent: {says}[/]" if item.is_silent else says)
    return table
