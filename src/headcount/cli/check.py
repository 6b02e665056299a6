"""``headcount check``."""

import json
import sys
from collections.abc import Iterable

import click
from django.conf import settings

from headcount.checks.deployment import check_deployment
from headcount.checks.finding import Finding


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def check(*, as_json: bool) -> None:
    """Tell what is wrong with this deployment before anything runs; exit 2 if anything is.

    Looks at the database, its tables and clock, at NATS, Redis and the broker where the settings name them, and at
    what must be the same on every host. Changes nothing.
    """
    findings = check_deployment(settings.HEADCOUNT)
    if as_json:
        click.echo(json.dumps([_as_json(finding) for finding in findings], indent=2))
    else:
        print_findings(findings)
    if not all(finding.is_ok for finding in findings):
        sys.exit(2)


def print_findings(findings: Iterable[Finding]) -> None:
    """Print a line for each finding, with what to do about it."""
    for finding in findings:
        verdict = "ok   " if finding.is_ok else "WRONG"
        remedy = "" if finding.is_ok else f"; {finding.remedy}"
        click.echo(f"{verdict} {finding.about}: {finding.seen}{remedy}")


def _as_json(finding: Finding) -> dict[str, str | bool]:
    return {"about": finding.about, "ok": finding.is_ok, "seen": finding.seen, "remedy": finding.remedy}
