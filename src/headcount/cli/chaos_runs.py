"""What ``headcount chaos`` does once the environment names a deployment; importing this module sets Django up."""

import json
import logging
from collections.abc import Iterator

import click
import structlog

from headcount.cli.chaos_grounds import shared_ground, throw_away_ground
from headcount.testing.chaos.plan import plans
from headcount.testing.chaos.run import Outcome, run


def run_all(*, seed: int, runs: int, jobs: int, tasks: int, here: bool, as_json: bool) -> bool:
    """Run, print a line for each job, and return whether everything was as it must be."""
    _keep_warnings_out()
    ground, capabilities = shared_ground() if here else throw_away_ground()
    total, broken = 0, 0
    for number in range(seed, seed + runs):
        replay = f"headcount chaos --seed {number} --runs 1 --jobs {jobs} --tasks {tasks}"
        replay += " --deployment here" if here else ""
        for outcome in run(ground, plans(number, jobs, tasks, capabilities)):
            click.echo(_as_json(outcome, replay) if as_json else "\n".join(_lines(outcome, number, replay)))
            total, broken = total + 1, broken + (not outcome.held)
    if not as_json:
        click.echo(f"{total} jobs, {broken} not as they must be" if broken else f"{total} jobs, all as they must be")
    return not broken


def _keep_warnings_out() -> None:
    """Warnings are what chaos is about: only errors, which nobody planned, are worth a line."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def _lines(outcome: Outcome, seed: int, replay: str) -> Iterator[str]:
    verdict = "ok   " if outcome.held else "WRONG"
    plan = outcome.plan
    yield (
        f"{verdict} seed {seed}: job {outcome.job_id}, {len(plan.words)} tasks, {len(plan.faults)} faults, "
        f"{outcome.deaths} processes killed: {outcome.status}"
    )
    if outcome.held:
        return
    yield from (f"      {offence}" for offence in outcome.offences)
    yield from (f"      fault {fault}" for fault in plan.faults)
    yield f"      replay it: {replay}"


def _as_json(outcome: Outcome, replay: str) -> str:
    said = {"job_id": outcome.job_id, "held": outcome.held, "status": outcome.status, "deaths": outcome.deaths}
    return json.dumps({**said, "offences": outcome.offences, "replay": replay, "plan": outcome.plan.as_json()})
