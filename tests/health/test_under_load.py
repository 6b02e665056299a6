"""Healthy jobs under load, with a loop that looks every second: it does nothing to any of them."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from threading import Condition

import pytest

from headcount.clock import Throttle, system_clock
from headcount.errors import TemporaryError
from headcount.flow.claim import ClaimedTask, Claimer, claim_any
from headcount.health import loop
from headcount.health.loop import HealthLoop
from headcount.health.report import CheckOutcome, HealthReport
from headcount.models import Job, JobEvent
from headcount.ports.deployment import Deployment, Throttles
from headcount.testing.waiting import wait_until
from headcount.wiring import build, build_runner
from tests.flow.given import SLUG, assert_ended, failure, posted, project, submitted, success
from tests.flow.threads import at_once
from tests.health.damage import REPAIR_EVENTS
from tests.settings import HEADCOUNT

JOBS, TASKS, WORKERS = 50, 30, 4
OF_A_TICK = JOBS * TASKS // 5
"""So many tasks may be claimed between two ticks, so that the jobs see at least five."""


class Ticks:
    """The reports of the loop, and the leave to claim that each brings."""

    def __init__(self) -> None:
        self.reports: list[HealthReport] = []
        self._changed = Condition()
        self._claimed = 0

    def add(self, report: HealthReport) -> None:
        with self._changed:
            self.reports.append(report)
            self._changed.notify_all()

    def leave_to_claim(self, tasks: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._claimed < OF_A_TICK * len(self.reports), 60)
            self._claimed += tasks


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    seen = Ticks()
    really = loop.jobs_health_check

    def check_and_tell(deployment: Deployment) -> HealthReport:
        report = really(deployment)
        seen.add(report)
        return report

    monkeypatch.setattr(loop, "jobs_health_check", check_and_tell)
    return seen


@pytest.mark.django_db(transaction=True)
def test_no_repair_ever_touches_a_healthy_job(ticks: Ticks) -> None:
    settings = HEADCOUNT.model_copy(update={"health_interval": timedelta(seconds=1)})
    # Rows that are written with every batch are never behind; at the usual pace a job that pauses is levelled.
    throttles = Throttles(progress=Throttle(timedelta(0)))
    deployment = replace(build(settings, system_clock), throttles=throttles)
    project_id = project()
    made = [submitted(deployment, TASKS, project_id, failure_threshold=0.2) for _ in range(JOBS)]
    runner, health = build_runner(deployment), HealthLoop(deployment)
    runner.start()
    health.start()
    try:
        at_once([lambda n=n: work(deployment, ticks, project_id, f"w{n}") for n in range(WORKERS)])
        wait_until(lambda: not Job.objects.exclude(status="SUCCESS").exists(), "every job is SUCCESS")
    finally:
        health.stop()
        runner.stop()
    for job in made:
        assert_ended(deployment, job, "SUCCESS", saved=TASKS - TASKS // 10, failed=TASKS // 10)
    assert list(JobEvent.objects.filter(name__in=REPAIR_EVENTS).values_list("name", "message")) == []
    assert len(ticks.reports) >= 5
    of_jobs = [outcome for report in ticks.reports for name, outcome in report.items() if name not in UPKEEP]
    assert Counter((outcome.fixed, outcome.unfixable) for outcome in of_jobs) == {(0, 0): len(of_jobs)}
    assert max(report.jobs for report in ticks.reports) > JOBS / 2
    assert sum((report["expired_leases"] for report in ticks.reports), CheckOutcome()) == CheckOutcome()


UPKEEP = {"outbox", "expired_leases"}
"""What is done for healthy jobs too."""


def work(deployment: Deployment, ticks: Ticks, project_id: int, name: str) -> None:
    """Claim and post until every job has ended, as a worker does."""
    while Job.objects.exclude(status="SUCCESS").exists():
        ticks.leave_to_claim(0)
        claimed = None
        with suppress(TemporaryError):
            claimed = claim_any(deployment, Claimer(project_id, name, (SLUG,)), 5)
        if claimed is None:
            continue
        job, tasks = claimed
        ticks.leave_to_claim(len(tasks))
        assert set(posted(deployment, job, [result_of(task) for task in tasks])) == {"saved"}


def result_of(task: ClaimedTask) -> dict[str, object]:
    return failure(task) if task.task.ordinal % 10 == 0 else success(task)
