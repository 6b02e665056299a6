"""``headcount health``: the health check once, at once, of everything or of one job."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from django.conf import settings

from headcount.cli import setup
from headcount.cli.output import as_json as to_json
from headcount.cli.output import console
from headcount.errors import BadInputError
from headcount.health.finding import Finding, Remedy
from headcount.health.loop import jobs_health_check
from headcount.health.policy import policy_of
from headcount.health.report import HealthReport
from headcount.health.stale import StaleJob, check_stale_jobs
from headcount.health.treat import Round, Treated, Treatment
from headcount.logs import configure_logs
from headcount.ports.deployment import Deployment
from headcount.store import jobs
from headcount.wiring import deployment


@click.command()
@click.option("--job", "job_id", type=int, help="Look at this job alone, whatever it is.")
@click.option("--minutes", type=float, help="Look only at jobs without progress for so long, and decide by that.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def health(job_id: int | None, minutes: float | None, *, dry_run: bool, as_json: bool) -> None:
    """Run the health check now, as the health loop does every minute.

    Without options: every sub-check once, and what each looked at, put right and could not. Exits 1 if anything could
    not be put right.
    """
    if job_id is not None and minutes is not None:
        raise BadInputError("--job and --minutes do not go together: --minutes chooses the jobs by itself")
    configure_logs(as_json=settings.HEADCOUNT.log_json, level=settings.HEADCOUNT.log_level)
    setup.prepare_database()
    here = deployment()
    if job_id is None and minutes is None and not dry_run:
        _show_report(jobs_health_check(here), as_json=as_json)
    elif minutes is None:
        _show_treated(_treated(here, job_id, dry_run=dry_run), dry_run=dry_run, as_json=as_json)
    else:
        _show_stale(check_stale_jobs(here, minutes, dry_run=dry_run), dry_run=dry_run, as_json=as_json)


def _treated(here: Deployment, job_id: int | None, *, dry_run: bool) -> list[Treated]:
    round_ = Round(here, policy_of(here.settings), dry_run=dry_run)
    return list(round_.running() if job_id is None else round_.these([jobs.get(job_id).id]))


def _show_report(report: HealthReport, *, as_json: bool) -> None:
    if as_json:
        checks = {name: asdict(outcome) for name, outcome in report.items()}
        click.echo(to_json({"jobs": report.jobs, "seconds": round(report.seconds, 3), "checks": checks}))
    else:
        click.echo(f"looked at {report.jobs} running jobs in {report.seconds:.2f} s")
        for name, outcome in report.items():
            counts = f"{outcome.checked} checked, {outcome.fixed} fixed, {outcome.unfixable} unfixable"
            click.echo(f"  {name:<22} {counts}")
    _leave(unfixable=report.total.unfixable > 0)


def _show_treated(treated: Sequence[Treated], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        click.echo(to_json([_job(item.job_id, item.treatments) for item in treated]))
    else:
        for item in treated:
            _print(f"job {item.job_id}", item.treatments, dry_run=dry_run)
        click.echo(f"looked at {len(treated)} jobs")
    _leave(unfixable=_any_error(item.treatments for item in treated))


def _show_stale(stale: Sequence[StaleJob], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        waited = [{"without_progress_seconds": item.without_progress.total_seconds()} for item in stale]
        listed = [_job(item.job_id, item.treatments) | more for item, more in zip(stale, waited, strict=True)]
        click.echo(to_json(listed))
    else:
        for item in stale:
            _print(f"job {item.job_id}, without progress for {item.without_progress}", item.treatments, dry_run=dry_run)
        click.echo(f"{len(stale)} jobs make no progress")
    _leave(unfixable=_any_error(item.treatments for item in stale))


def _print(heading: str, treatments: Iterable[Treatment], *, dry_run: bool) -> None:
    console.print(f"[bold]{heading}[/]", highlight=False)
    for treatment in treatments:
        finding = treatment.finding
        if finding is None:
            console.print(f"  cannot be looked at: {treatment.error}", highlight=False, markup=False)
        else:
            said = f"  {finding.condition}: {finding.explanation} {_done(treatment, finding, dry_run=dry_run)}"
            console.print(said.rstrip(), highlight=False, markup=False, soft_wrap=True)


def _done(treatment: Treatment, finding: Finding, *, dry_run: bool) -> str:
    if finding.remedy is Remedy.NONE:
        return ""
    if treatment.error:
        return f"[{finding.remedy}: not done: {treatment.error}]"
    if dry_run:
        return f"[{finding.remedy}: not done in a dry run]"
    return f"[{finding.remedy}: {'done' if treatment.changed else 'it was not needed any more'}]"


def _job(job_id: int, treatments: Iterable[Treatment]) -> dict[str, Any]:
    return {"job_id": job_id, "findings": [_treatment(treatment) for treatment in treatments]}


def _treatment(treatment: Treatment) -> dict[str, Any]:
    finding = treatment.finding
    if finding is None:
        return {"condition": None, "changed": False, "error": treatment.error}
    due: datetime | None = finding.due
    return {
        "condition": finding.condition,
        "remedy": finding.remedy,
        "explanation": finding.explanation,
        "outcome": finding.outcome,
        "next_step": finding.next_step,
        "due": due,
        "fallback": finding.fallback,
        "evidence": finding.evidence,
        "changed": treatment.changed,
        "error": treatment.error,
    }


def _any_error(all_treatments: Iterable[Iterable[Treatment]]) -> bool:
    return any(treatment.error for treatments in all_treatments for treatment in treatments)


def _leave(*, unfixable: bool) -> None:
    if unfixable:
        sys.exit(1)
