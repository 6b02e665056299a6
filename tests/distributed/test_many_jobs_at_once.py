"""Many jobs, several at a time, whose results come in overlapping posts from many posters at once."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.distributed.clients import Api, Task, failure, statuses, success
from tests.distributed.evidence import counted
from tests.distributed.live import Live

pytestmark = [pytest.mark.process, pytest.mark.timeout(300), pytest.mark.xdist_group("a running deployment")]

JOBS, TASKS, AT_A_TIME, POSTERS = 40, 40, 4, 16
FAILED, LAST = 3, 8
REPETITIONS = int(os.environ.get("HEADCOUNT_TEST_REPETITIONS", "10"))


@pytest.fixture
def posters(running: Live) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(POSTERS) as pool:
        yield pool


@pytest.mark.parametrize("repetition", range(REPETITIONS))
def test_forty_jobs_four_at_a_time_with_overlapping_posts_all_end_with_exact_counts(
    running: Live, posters: ThreadPoolExecutor, repetition: int
) -> None:
    collection = running.collection(TASKS)
    with ThreadPoolExecutor(AT_A_TIME) as lanes:
        ended = list(lanes.map(lambda _: whole_job(running, collection, posters), range(JOBS)))
    assert len(set(ended)) == JOBS


def whole_job(running: Live, collection: str, posters: ThreadPoolExecutor) -> int:
    """Do a job as a crew that posts everything twice would, and hold every witness to its numbers; returns its id."""
    with closing(Api(running.api.url, running.api.token)) as api:
        job_id = api.submit(collection)
        running.wait_until_published(job_id)
        tasks = api.claim(job_id, TASKS)
        first, last = tasks[:-LAST], tasks[-LAST:]
        assert saved_by(api, job_id, overlapping(first, size=10, step=5), posters) == len(first)
        assert running.evidence.state(job_id) == counted(TASKS, len(first) - FAILED, FAILED)
        assert saved_by(api, job_id, overlapping(last, size=3, step=1), posters) == len(last)
        assert running.evidence.status(job_id) == "SUCCESS", "it ends in the request that brings the last result"
        running.evidence.assert_exact(job_id, saved=TASKS - FAILED, failed=FAILED)
    return job_id


def overlapping(tasks: Sequence[Task], size: int, step: int) -> list[Sequence[Task]]:
    """Batches that begin within the one before; the last tasks are in fewer of them, so the list begins anew."""
    return [[*tasks, *tasks][start : start + size] for start in range(0, len(tasks), step)]


def saved_by(api: Api, job_id: int, batches: Sequence[Sequence[Task]], posters: ThreadPoolExecutor) -> int:
    """Post batches at once, every third task of the first nine as an error; returns how many answers say saved."""

    def post(batch: Sequence[Task]) -> list[dict[str, object]]:
        return api.post_results(job_id, [failure(task) if is_to_fail(task) else success(task) for task in batch])

    answers = [answer for answered in posters.map(post, batches) for answer in answered]
    assert set(statuses(answers)) <= {"saved", "duplicate"}
    return statuses(answers)["saved"]


def is_to_fail(task: Task) -> bool:
    return task["payload"]["name"] in {"1.jpg", "4.jpg", "7.jpg"}
