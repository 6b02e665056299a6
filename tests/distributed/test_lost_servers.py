"""What the engines lose, or where they are away, while a job is under way; on the oldest NATS as on the newest."""

from collections.abc import Iterator

import pytest
from redis import Redis

from headcount.testing import servers
from headcount.testing.servers import PrivateServer, ServerMissingError
from tests.distributed import nats_admin
from tests.distributed.accidents import nats_is_killed_for_a_while
from tests.distributed.live import Live
from tests.distributed.timing import Took
from tests.servers import need

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("a running deployment")]

TASKS, BATCH = 2000, 50


@pytest.fixture(params=["newest", "oldest"])
def nats(request: pytest.FixtureRequest, running: Live) -> Iterator[PrivateServer]:
    """The NATS server of the running deployment: its own, or the oldest, which stands in for it on its port."""
    own = running.site.servers.nats
    if request.param == "newest":
        yield own
        return
    try:
        binary = servers.oldest_nats()
    except ServerMissingError as error:
        need(str(error))
    own.kill()
    try:
        with servers.nats_server(binary, port=own.port) as oldest:
            yield oldest
    finally:
        own.start()


def test_a_redis_that_is_flushed_at_half_of_a_job_costs_no_result(running: Live, took: Took) -> None:
    job_id = running.submit(TASKS)
    with running.crew(job_id, batch=BATCH, hold_at=TASKS // 2) as crew:
        crew.wait_until_held()
        with Redis.from_url(running.site.servers.redis.url) as redis:
            redis.flushall()
        crew.go_on()
        with took("FLUSHALL to final"):
            running.wait_until_final(job_id)
    assert (crew.saved, crew.lost, dict(crew.refused)) == (TASKS, 0, {})
    running.evidence.assert_exact(job_id, saved=TASKS)


def test_tasks_of_a_deleted_stream_are_published_again(running: Live, nats: PrivateServer, took: Took) -> None:
    job_id = running.submit_published(TASKS)
    with running.crew(job_id, batch=BATCH, hold_at=TASKS // 2) as crew:
        crew.wait_until_held()
        assert nats_admin.messages(running.site) >= TASKS // 4, "there are undelivered tasks to be lost"
        nats_admin.delete_stream(running.site)
        crew.go_on()
        with took("stream deleted to final"):
            running.wait_until_final(job_id)
    assert running.evidence.events(job_id, "repair.republish") >= 1
    running.evidence.assert_exact(job_id, saved=TASKS)


def test_tasks_of_a_deleted_consumer_are_handed_out_again(running: Live, nats: PrivateServer, took: Took) -> None:
    job_id = running.submit_published(TASKS)
    with running.crew(job_id, batch=BATCH, hold_at=TASKS // 2) as crew:
        crew.wait_until_held()
        assert nats_admin.messages(running.site) >= TASKS // 4, "there are undelivered tasks to be lost"
        assert nats_admin.delete_consumers(running.site) == 1
        crew.go_on()
        with took("consumer deleted to final"):
            running.wait_until_final(job_id)
    running.evidence.assert_exact(job_id, saved=TASKS)


def test_a_stream_that_is_deleted_before_anybody_claims_is_made_and_filled_again(
    running: Live, nats: PrivateServer, took: Took
) -> None:
    job_id = running.submit_published(TASKS)
    nats_admin.delete_stream(running.site)
    with took("stream deleted to final"), running.crew(job_id, batch=BATCH) as crew:
        running.wait_until_final(job_id)
    assert crew.saved == TASKS
    running.evidence.assert_exact(job_id, saved=TASKS)


def test_a_killed_nats_that_comes_back_lets_the_job_end(running: Live, nats: PrivateServer, took: Took) -> None:
    job_id = running.submit_published(TASKS)
    with running.crew(job_id, batch=BATCH, hold_at=TASKS // 2) as crew:
        crew.wait_until_held()
        nats_is_killed_for_a_while(nats, crew)
        with took("NATS back to final"):
            running.wait_until_final(job_id)
    assert set(crew.refused) == {503}
    running.evidence.assert_exact(job_id, saved=TASKS)
