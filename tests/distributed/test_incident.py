"""The incident, on real servers: every task done, and the job's row, Redis and Celery each tell another story.

The health loop of this deployment looks once an hour, so that each test brings about what it wants to be looked at and
then has ``headcount health`` look, in a process beside it.
"""

from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest
from redis import Redis

from headcount.domain.records import JobRef
from headcount.domain.states import STATE_MANAGER_STAGES
from headcount.flow.push import BATCH
from headcount.ports.state_manager import Mark, Snapshot
from headcount.testing.waiting import wait_until
from tests.distributed.clients import Api, Task, statuses, success
from tests.distributed.evidence import counted
from tests.distributed.faults import Gap
from tests.distributed.live import Live, live
from tests.distributed.looking import Looker, looker
from tests.distributed.pushing import Gate, push_service, submit_pushed
from tests.distributed.site import Servers, faulty_web_host, new_site, up
from tests.push.scripted_service import ScriptedService

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("the incident")]

TASKS = 10
LATER = {
    "HEADCOUNT_HEALTH_INTERVAL": "PT1H",
    "HEADCOUNT_ACK_WAIT": "PT1H",
    "HEADCOUNT_DISPATCH_LEASE": "PT2M",
    "HEADCOUNT_PUBLIC_URL": "http://headcount.example",
}
CELERY = ["SUCCESS", "FAILURE"]

Damage = Callable[[Live, int], None]
"""What becomes of a job's state in Redis."""


@pytest.fixture(scope="module")
def unwatched(private: Servers, rabbitmq_url: str) -> Iterator[Live]:
    """A whole deployment that nobody's health loop repairs before a test has it looked at."""
    with (
        new_site(private, HEADCOUNT_BROKER_URL=rabbitmq_url, **LATER) as site,
        up(site.with_faults()) as url,
        live(site, url) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def faulty(unwatched: Live) -> Iterator[Api]:
    """The API on a host whose process dies where a test wants it to."""
    with faulty_web_host(unwatched.site) as url, closing(Api(url, unwatched.api.token)) as api:
        yield api


@pytest.fixture(scope="module")
def look(unwatched: Live) -> Iterator[Looker]:
    """Has everything looked at, when a test says so."""
    with looker(unwatched.site) as made:
        yield made


def all_but(on: Live, left: int) -> tuple[int, list[Task]]:
    """A job of which all but so many tasks are saved; returns those that are left, in the hands of a worker."""
    job_id = on.submit_published(TASKS)
    tasks = on.api.claim(job_id, TASKS)
    done = tasks[left:]
    assert statuses(on.api.post_results(job_id, [success(task) for task in done])) == {"saved": len(done)}
    return job_id, tasks[:left]


def all_done_and_nobody_said_so(on: Live, faulty: Api, gap: Gap) -> int:
    """A job whose last result was saved by a process that was killed then."""
    job_id, last = all_but(on, 1)
    on.site.faults.arm(gap)
    with pytest.raises(httpx.TransportError):
        faulty.send(f"jobs/{job_id}/result", {"results": [success(task) for task in last]})
    assert on.evidence.ledger(job_id) == {"saved": TASKS}
    return job_id


def look_like_the_incident(on: Live, job_id: int, celery: str, done: int = TASKS - 1) -> None:
    """Edit what is for people and what Celery says by hand: processed N-1, remaining 1, STARTED, no certificate.

    It has been so for a while: no request is about to end the job any more.
    """
    on.evidence.run_sql(
        "UPDATE headcount_task SET accounted_at = accounted_at - interval '1 minute' WHERE job_id = %s", job_id
    )
    on.evidence.run_sql(
        "UPDATE headcount_jobstage SET done = %s, failed = 0 WHERE job_id = %s AND stage IN ('process', 'results')",
        done,
        job_id,
    )
    on.evidence.run_sql(
        """
        UPDATE headcount_celery_dispatch SET state = %s, leased_until = CASE %s WHEN 'STARTED' THEN leased_until END
        WHERE job_id = %s""",
        celery,
        celery,
        job_id,
    )
    assert on.evidence.rows("SELECT status, task_total FROM headcount_job WHERE id = %s", job_id) == [
        ("STARTED", TASKS)
    ]
    stages = "SELECT DISTINCT done, failed FROM headcount_jobstage WHERE job_id = %s AND stage <> 'collect'"
    assert on.evidence.rows(stages, job_id) == [(done, 0)]
    assert on.evidence.value("SELECT count(*) FROM headcount_certificate WHERE job_id = %s", job_id) == 0


def forget_state(on: Live, job_id: int) -> None:
    with Redis.from_url(on.site.servers.redis.url) as redis:
        keys = list(redis.scan_iter(match=f"{on.site.name}:{{job:{job_id}:*"))
        assert keys, "there is something to forget"
        redis.delete(*keys)
    assert not isinstance(on.evidence._state.snapshot(JobRef(job_id, 1)), Snapshot)


def drained(on: Live, faulty: Api) -> int:
    job_id = all_done_and_nobody_said_so(on, faulty, Gap.BETWEEN_ACKNOWLEDGEMENT_AND_VERDICT)
    assert on.evidence.state(job_id) == counted(TASKS, TASKS)
    return job_id


def pending(on: Live, faulty: Api) -> int:
    job_id = all_done_and_nobody_said_so(on, faulty, Gap.BETWEEN_COMMIT_AND_COUNT)
    assert on.evidence.state(job_id) == counted(TASKS, TASKS - 1)
    return job_id


def absent(on: Live, faulty: Api) -> int:
    job_id = pending(on, faulty)
    forget_state(on, job_id)
    return job_id


@pytest.mark.parametrize("celery", CELERY)
@pytest.mark.parametrize("redis", [drained, pending, absent], ids=lambda made: made.__name__)
def test_a_job_that_is_done_ends_as_success_whatever_redis_and_celery_say(
    unwatched: Live, look: Looker, faulty: Api, redis: Callable[[Live, Api], int], celery: str
) -> None:
    job_id = redis(unwatched, faulty)
    look_like_the_incident(unwatched, job_id, celery)
    look()
    assert unwatched.api.status(job_id) == "SUCCESS"
    unwatched.evidence.assert_exact(job_id, saved=TASKS)
    assert unwatched.evidence.events(job_id, "repair.finalise") == 1
    look()
    unwatched.evidence.assert_exact(job_id, saved=TASKS)


def known(on: Live, job_id: int) -> None:
    """Redis says what is so: two are not done."""


def claims_completion(on: Live, job_id: int) -> None:
    """Redis says that everything is done, which it is not."""
    marks = [Mark(stage, ordinal, failed=False) for stage in STATE_MANAGER_STAGES for ordinal in range(TASKS)]
    on.evidence._state.rebuild_from(JobRef(job_id, 1), TASKS, marks)
    assert on.evidence.state(job_id) == counted(TASKS, TASKS)


@pytest.mark.parametrize("celery", CELERY)
@pytest.mark.parametrize("redis", [known, claims_completion, forget_state], ids=lambda made: made.__name__)
def test_a_job_with_open_tasks_goes_on_and_ends_as_success_when_they_are_done(
    unwatched: Live, look: Looker, redis: Damage, celery: str
) -> None:
    job_id, left = all_but(unwatched, 2)
    redis(unwatched, job_id)
    look_like_the_incident(unwatched, job_id, celery, done=TASKS - 2)
    look()
    assert unwatched.api.status(job_id) == "STARTED", "neither ended nor given up"
    assert unwatched.evidence.state(job_id) == counted(TASKS, TASKS - 2), "what is lost or wrong is rebuilt"
    assert statuses(unwatched.api.post_results(job_id, [success(task) for task in left])) == {"saved": 2}
    unwatched.evidence.assert_exact(job_id, saved=TASKS)


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def only_service(unwatched: Live, gate: Gate) -> Iterator[ScriptedService]:
    """One service for every test, since it takes a process to name one."""
    with push_service(unwatched, gate) as scripted:
        yield scripted


@pytest.fixture
def service(only_service: ScriptedService, gate: Gate) -> Iterator[ScriptedService]:
    only_service.asked.clear()
    yield only_service
    gate.is_open.set()


def pushed(on: Live, service: ScriptedService, gate: Gate) -> int:
    """A sync_api job that a Celery worker is at: its first batch is saved, and the service sits on the second."""
    gate.close(passes=1)
    job_id = submit_pushed(on, TASKS)
    wait_until(lambda: len(service.asked) == 2, "the second batch is with the service", 60)
    assert on.evidence.rows("SELECT dispatch_mode FROM headcount_job WHERE id = %s", job_id) == [("sync_api",)]
    assert on.evidence.ledger(job_id) == {"saved": BATCH, "leased": TASKS - BATCH}
    return job_id


def repairs(on: Live, job_id: int) -> set[str]:
    """What was done about a job, but for levelling what is for people."""
    names = "SELECT DISTINCT name FROM headcount_jobevent WHERE job_id = %s AND name LIKE 'repair.%%'"
    return {name for (name,) in on.evidence.rows(names, job_id)}


ABSENT_OR_WRONG = pytest.mark.parametrize("redis", [forget_state, claims_completion], ids=lambda made: made.__name__)


@ABSENT_OR_WRONG
@pytest.mark.parametrize(("celery", "settled"), [("FAILURE", {"failed": TASKS - BATCH}), ("REVOKED", {"leased": 2})])
def test_a_sync_api_job_ends_as_celery_says(
    unwatched: Live,
    look: Looker,
    service: ScriptedService,
    gate: Gate,
    redis: Damage,
    celery: str,
    settled: dict[str, int],
) -> None:
    job_id = pushed(unwatched, service, gate)
    redis(unwatched, job_id)
    look_like_the_incident(unwatched, job_id, celery, done=BATCH - 1)
    look()
    assert unwatched.api.status(job_id) == celery
    assert unwatched.evidence.ledger(job_id) == {"saved": BATCH, **settled}, "what is saved stays"
    assert unwatched.api.get(f"jobs/{job_id}/audit")["clean"]


@ABSENT_OR_WRONG
@pytest.mark.parametrize("celery", ["STARTED", "PENDING"])
def test_a_sync_api_job_that_celery_is_at_is_left_to_it(
    unwatched: Live, look: Looker, service: ScriptedService, gate: Gate, redis: Damage, celery: str
) -> None:
    job_id = pushed(unwatched, service, gate)
    redis(unwatched, job_id)
    look_like_the_incident(unwatched, job_id, celery, done=BATCH - 1)
    look()
    assert unwatched.api.status(job_id) == "STARTED"
    assert repairs(unwatched, job_id) == set()
    gate.is_open.set()
    unwatched.wait_until_final(job_id)
    unwatched.evidence.assert_exact(job_id, saved=TASKS)


@ABSENT_OR_WRONG
def test_a_sync_api_job_is_no_success_by_celerys_word_while_tasks_are_open(
    unwatched: Live, look: Looker, service: ScriptedService, gate: Gate, redis: Damage
) -> None:
    job_id = pushed(unwatched, service, gate)
    redis(unwatched, job_id)
    look_like_the_incident(unwatched, job_id, "SUCCESS", done=BATCH - 1)
    look()
    assert unwatched.api.status(job_id) == "STARTED"
    assert repairs(unwatched, job_id) == {"repair.resume_dispatch"}
    gate.is_open.set()
    unwatched.wait_until_final(job_id)
    unwatched.evidence.assert_exact(job_id, saved=TASKS)


@pytest.mark.parametrize("redis", [known, forget_state], ids=lambda made: made.__name__)
@pytest.mark.parametrize("celery", ["SUCCESS", "STARTED"])
def test_a_sync_api_job_whose_celery_worker_died_over_its_verdict_ends_as_success(
    unwatched: Live, look: Looker, service: ScriptedService, gate: Gate, redis: Damage, celery: str
) -> None:
    job_id = pushed(unwatched, service, gate)
    unwatched.site.faults.arm(Gap.BETWEEN_COMMIT_AND_COUNT)
    gate.is_open.set()
    wait_until(lambda: not unwatched.site.faults.is_armed(Gap.BETWEEN_COMMIT_AND_COUNT), "the worker is killed", 60)
    assert unwatched.evidence.ledger(job_id) == {"saved": TASKS}
    redis(unwatched, job_id)
    look_like_the_incident(unwatched, job_id, celery)
    look()
    assert unwatched.api.status(job_id) == "SUCCESS"
    assert repairs(unwatched, job_id) == {"repair.finalise"}
    unwatched.evidence.assert_exact(job_id, saved=TASKS)
