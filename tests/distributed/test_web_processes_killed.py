"""Web processes that die with results in their hands."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import httpx
import pytest

from tests.distributed.accidents import held_crew, web_process_dies_at_work
from tests.distributed.clients import Api, Task, statuses, success
from tests.distributed.evidence import counted
from tests.distributed.faults import Gap, Harm
from tests.distributed.live import Live
from tests.distributed.site import LEASE_SECONDS
from tests.distributed.timing import Took

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("a running deployment")]

TASKS, WORKERS = 400, 8
FEW, BATCH = 30, 10
GRACE_SECONDS = 10
"""What a health check and a busy machine may take beyond a lease."""

GAPS = [
    Gap.BETWEEN_COMMIT_AND_COUNT,
    Gap.BETWEEN_COUNT_AND_ACKNOWLEDGEMENT,
    Gap.BETWEEN_ACKNOWLEDGEMENT_AND_VERDICT,
]
in_each_gap = pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.name.lower())


def test_tasks_lost_with_a_killed_web_process_are_done_again_within_a_lease(running: Live, took: Took) -> None:
    with held_crew(running, TASKS, workers=WORKERS, batch=20) as (job_id, crew):
        web_process_dies_at_work(running, crew, enough=TASKS // 2)
        with took("web process killed to final"):
            running.wait_until_final(job_id, within=LEASE_SECONDS + GRACE_SECONDS)
    assert crew.lost > 0, "posts were never answered, and nobody posted them again"
    assert crew.saved == TASKS
    running.evidence.assert_exact(job_id, saved=TASKS)


@pytest.fixture
def faulty(running: Live, faulty_host: str) -> Iterator[Api]:
    """The API on the host that suffers faults."""
    with closing(Api(faulty_host, running.api.token)) as api:
        yield api


@in_each_gap
def test_a_batch_posted_again_after_a_death_in_the_gap_counts_once(running: Live, faulty: Api, gap: Gap) -> None:
    job_id = running.submit_published(FEW)
    tasks = running.api.claim(job_id, FEW)
    for start in range(0, FEW, BATCH):
        dies(running, faulty, job_id, tasks[start : start + BATCH], gap)
        again = running.api.post_results(job_id, [success(task) for task in tasks[start : start + BATCH]])
        assert statuses(again) == {"duplicate": BATCH}, "the results had been committed before the process died"
        if start + BATCH < FEW:
            assert running.evidence.state(job_id) == counted(FEW, start + BATCH)
    assert running.api.status(job_id) == "SUCCESS", "the second post ended it, there was nothing to wait for"
    running.evidence.assert_exact(job_id, saved=FEW)


@in_each_gap
def test_a_last_batch_that_nobody_posts_again_after_a_death_in_the_gap_is_brought_level(
    running: Live, faulty: Api, gap: Gap, took: Took
) -> None:
    job_id = running.submit_published(FEW)
    tasks = running.api.claim(job_id, FEW)
    assert statuses(running.api.post_results(job_id, [success(task) for task in tasks[BATCH:]])) == {"saved": 20}
    dies(running, faulty, job_id, tasks[:BATCH], gap)
    with took("killed in the gap to final"):
        running.wait_until_final(job_id, within=GRACE_SECONDS)
    running.evidence.assert_exact(job_id, saved=FEW)


@in_each_gap
def test_a_batch_in_the_middle_that_nobody_posts_again_keeps_no_job_from_its_end(
    running: Live, faulty: Api, gap: Gap, took: Took
) -> None:
    job_id = running.submit_published(FEW)
    tasks = running.api.claim(job_id, FEW)
    dies(running, faulty, job_id, tasks[:BATCH], gap)
    assert statuses(running.api.post_results(job_id, [success(task) for task in tasks[BATCH:]])) == {"saved": 20}
    with took("killed in the gap to final"):
        running.wait_until_final(job_id, within=GRACE_SECONDS)
    running.evidence.assert_exact(job_id, saved=FEW)


@pytest.mark.parametrize("gap", GAPS[:2], ids=lambda gap: gap.name.lower())
def test_an_engine_that_fails_in_the_gap_does_not_unsay_what_was_saved(running: Live, faulty: Api, gap: Gap) -> None:
    job_id = running.submit_published(FEW)
    tasks = running.api.claim(job_id, FEW)
    running.site.faults.arm(gap, Harm.FAILURE)
    assert statuses(faulty.post_results(job_id, [success(task) for task in tasks])) == {"saved": FEW}
    assert not running.site.faults.is_armed(gap)
    running.wait_until_final(job_id, within=GRACE_SECONDS)
    running.evidence.assert_exact(job_id, saved=FEW)


def dies(running: Live, faulty: Api, job_id: int, tasks: Sequence[Task], gap: Gap) -> None:
    """Post results to a host whose process dies in the gap, so that nobody answers."""
    running.site.faults.arm(gap)
    with pytest.raises(httpx.TransportError):
        faulty.send(f"jobs/{job_id}/result", {"results": [success(task) for task in tasks]})
    assert not running.site.faults.is_armed(gap), "it died where it was to die"
    assert running.evidence.ledger(job_id)["saved"] >= len(tasks), "the commit came before"
