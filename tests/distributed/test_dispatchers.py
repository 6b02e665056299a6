"""Dispatchers killed on their way, or doubled, on PostgreSQL, NATS and Redis: each task is there once."""

import json
from collections import Counter
from contextlib import closing
from math import ceil

import pytest

from headcount.domain.records import JobRef
from headcount.flow.push import BATCH
from headcount.ports.task_queue import QueueDepth
from tests.distributed.evidence import Witnesses, counted
from tests.distributed.pushing import SLUG, Pair
from tests.distributed.site import Site
from tests.push.scripted_service import ScriptedService

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("bare deployments")]

TASKS, PUSHED = 500, 100
PORTIONS = 10


def dispatched(bare: Site, experiment: str, tasks: int = TASKS) -> list[tuple[int, int]]:
    """Run an experiment; returns each job with how often a dispatcher of it was killed, or two of them met."""
    lines = bare.with_faults().run("tests.distributed.dispatches", experiment, str(tasks)).splitlines()
    return [(job["job_id"], job["times"]) for job in map(json.loads, lines)]


def test_a_dispatcher_killed_at_any_tenth_of_collecting_or_publishing_is_resumed_exactly(bare: Site) -> None:
    jobs = dispatched(bare, "killed_at_each_checkpoint")
    assert [killed for _, killed in jobs] == [1] * 22 + [0], "ten portions and the end, of collecting and publishing"
    assert_each_task_is_there_once(bare, jobs)


def test_dispatchers_killed_one_after_the_other_still_bring_the_job_on(bare: Site) -> None:
    jobs = dispatched(bare, "killed_again_and_again")
    ((_, killed),) = jobs
    assert killed >= 11, "each wrote at most one more portion before it was killed"
    assert_each_task_is_there_once(bare, jobs)


def test_dispatchers_killed_inside_each_tenth_of_collecting_and_publishing_leave_no_half_behind(bare: Site) -> None:
    jobs = dispatched(bare, "killed_inside_each_portion")
    assert [killed for _, killed in jobs] == [2 * PORTIONS]
    assert_each_task_is_there_once(bare, jobs)


def test_a_dispatcher_killed_between_two_engines_is_resumed_exactly(bare: Site) -> None:
    jobs = dispatched(bare, "killed_in_each_gap")
    assert [killed for _, killed in jobs] == [1, 1, 1]
    assert_each_task_is_there_once(bare, jobs)


def test_two_dispatchers_of_one_job_at_once_do_it_once(bare: Site) -> None:
    jobs = dispatched(bare, "two_at_once")
    side_by_side = 2 * (PORTIONS + 1)
    assert [met for _, met in jobs] == [side_by_side, 1] * 5, "all along, or where collecting begins"
    assert_each_task_is_there_once(bare, jobs)


def test_two_dispatchers_that_push_one_job_at_once_count_each_result_once(bare: Site) -> None:
    with ScriptedService(Pair().answer).running() as service:
        named = ("--project", "moths", "--name", "pushed", "--url", service.url, "--pipeline", SLUG)
        bare.run("headcount", "service", "add", *named)
        public = bare.with_variables(HEADCOUNT_PUBLIC_URL="http://headcount.example")
        ((job_id, met),) = dispatched(public, "two_pushing_at_once", PUSHED)
    assert met == PORTIONS + 1 + ceil(PUSHED / BATCH), "before each portion that they collect, and each batch they push"
    asked = Counter(image["id"] for body in service.asked for image in body["source_images"])
    assert (len(asked), set(asked.values())) == (PUSHED, {2}), "both pushed everything"
    with closing(Witnesses(bare)) as witnesses:
        witnesses.assert_rows_are_exact(job_id, saved=PUSHED)
        assert witnesses.is_forgotten(job_id)


def assert_each_task_is_there_once(bare: Site, jobs: list[tuple[int, int]]) -> None:
    """Ledger, job row, state manager and queue all have every task once, and a worker is handed each once."""
    with closing(Witnesses(bare)) as witnesses:
        for job_id, _ in jobs:
            witnesses.assert_ledger_is_whole(job_id, TASKS)
            assert witnesses.ledger(job_id) == {"waiting": TASKS}
            statement = "SELECT status, task_total, published_at IS NOT NULL FROM headcount_job WHERE id = %s"
            assert witnesses.rows(statement, job_id) == [("STARTED", TASKS, True)]
            assert witnesses.state(job_id) == counted(TASKS, 0)
            assert witnesses.depth(job_id) == QueueDepth(pending=TASKS, in_flight=0, redelivered=0)
            assert witnesses.claimed(JobRef(job_id, 1), 2 * TASKS) == list(range(TASKS))
