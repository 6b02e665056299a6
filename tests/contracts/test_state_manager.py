"""Every state manager keeps the contract; the one on Redis also when Redis loses, refuses, hangs or dies."""

from collections.abc import Iterator
from multiprocessing import get_context
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Connection, Redis
from redis import ConnectionError as RedisConnectionError

from headcount.domain.records import JobRef
from headcount.domain.states import STATE_MANAGER_STAGES
from headcount.engines.database.state import DatabaseStateManager
from headcount.engines.redis.inspection import IndexContents, MemoryPolicy
from headcount.engines.redis.keys import KeyNames, identity_of
from headcount.engines.redis.state import RedisStateManager
from headcount.errors import ConfigurationError, EngineUnavailableError
from headcount.ports.state_manager import Mark, Snapshot, Unknown
from headcount.testing import servers
from headcount.testing.contracts.state_manager import StateManagerContract
from headcount.testing.contracts.state_marks import expected_stages, known, marks_of, new_job
from headcount.testing.servers import PrivateServer, free_port
from tests.servers import need, redis_server

__all__ = ["redis_server"]

NAMES = KeyNames("headcount-test")
IDENTITY = identity_of("the secret of these tests")
KEYS_OF_A_RUN = range(5)


def redis_state(url: str, *, identity: str = IDENTITY, timeout_seconds: float = 2.0) -> RedisStateManager:
    return RedisStateManager(url, deployment=NAMES.deployment, identity=identity, timeout_seconds=timeout_seconds)


def reason(answer: Snapshot | Unknown) -> str:
    assert isinstance(answer, Unknown), answer
    return answer.reason


def drained(state: RedisStateManager, total: int = 20) -> JobRef:
    job = new_job()
    state.initialise(job, total)
    assert known(state.account(job, marks_of(range(total)))).all_tasks_processed
    return job


@pytest.fixture
def state(redis_server: PrivateServer, client: Redis) -> RedisStateManager:
    return redis_state(redis_server.url)


@pytest.fixture
def client(redis_server: PrivateServer) -> Iterator[Redis]:
    """The test's own view of an emptied Redis."""
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def own_server() -> Iterator[PrivateServer]:
    """A Redis that this test may stop, freeze and configure."""
    try:
        with servers.redis_server() as server:
            yield server
    except servers.ServerMissingError as error:
        need(str(error))


@pytest.fixture
def own_client(own_server: PrivateServer) -> Iterator[Redis]:
    with Redis.from_url(own_server.url) as client:
        yield client


@pytest.mark.django_db(transaction=True)
class TestDatabaseStateManager(StateManagerContract):
    @pytest.fixture
    def state(self) -> DatabaseStateManager:
        return DatabaseStateManager()

    @pytest.fixture
    def another(self) -> DatabaseStateManager:
        return DatabaseStateManager()

    @staticmethod
    def leave_thread() -> None:
        connection.close()


class TestRedisStateManager(StateManagerContract):
    dates_what_it_holds = True

    @pytest.fixture
    def state(self, redis_server: PrivateServer) -> RedisStateManager:
        return redis_state(redis_server.url)

    @pytest.fixture
    def another(self, redis_server: PrivateServer) -> RedisStateManager:
        return redis_state(redis_server.url)


class TestRedisLosesKeys:
    @pytest.mark.parametrize("position", KEYS_OF_A_RUN)
    def test_a_run_that_lost_any_key_is_unknown(self, state: RedisStateManager, client: Redis, position: int) -> None:
        job = drained(state)
        lost = NAMES.of_run(job)[position]
        client.delete(lost)
        state.initialise(job, 20)
        assert state.all_tasks_processed(job) is None
        assert lost.rpartition(":")[2] in reason(state.snapshot(job))
        assert "not whole" in reason(state.account(job, marks_of([0])))
        rebuilt = state.rebuild_from(job, 20, iter(marks_of(range(19))))
        assert rebuilt.stages == known(state.snapshot(job)).stages == expected_stages(20, marks_of(range(19)))

    @pytest.mark.parametrize("position", KEYS_OF_A_RUN[1:])
    def test_a_bitmap_of_another_run_is_refused(self, state: RedisStateManager, client: Redis, position: int) -> None:
        other, job = drained(state), new_job()
        state.initialise(job, 20)
        client.copy(NAMES.of_run(other)[position], NAMES.of_run(job)[position], replace=True)
        assert "not whole" in reason(state.snapshot(job))
        assert state.all_tasks_processed(job) is None

    @pytest.mark.parametrize("position", KEYS_OF_A_RUN)
    def test_a_key_of_another_type_is_lost(self, state: RedisStateManager, client: Redis, position: int) -> None:
        job = drained(state)
        key = NAMES.of_run(job)[position]
        client.delete(key)
        client.rpush(key, "a list")
        assert "not whole" in reason(state.snapshot(job))
        assert state.rebuild_from(job, 20, marks_of(range(20))).all_tasks_processed

    def test_a_record_without_a_count_cannot_testify(self, state: RedisStateManager, client: Redis) -> None:
        job = drained(state)
        client.hdel(NAMES.of_run(job)[0], "process_failed")
        assert "record" in reason(state.snapshot(job))

    def test_counts_without_their_marks_are_not_believed(self, state: RedisStateManager, client: Redis) -> None:
        job = new_job()
        state.initialise(job, 9)
        client.hset(NAMES.of_run(job)[0], mapping={"process_accounted": 9, "results_accounted": 9})
        assert "do not agree" in reason(state.snapshot(job))
        assert state.all_tasks_processed(job) is None

    def test_a_flush_in_the_middle_is_noticed_and_rebuilt(self, state: RedisStateManager, client: Redis) -> None:
        job = new_job()
        state.initialise(job, 10)
        state.account(job, marks_of(range(5)))
        client.flushall()
        assert "was never used by this deployment or was flushed" in reason(state.account(job, marks_of([5])))
        assert state.all_tasks_processed(job) is None
        assert state.rebuild_from(job, 10, iter(marks_of(range(6)))).stages == expected_stages(10, marks_of(range(6)))
        assert client.get(NAMES.identity) == IDENTITY.encode()
        assert known(state.account(job, marks_of(range(10)))).newly == 8
        assert state.all_tasks_processed(job) is True

    def test_real_eviction_never_reads_as_completion(self, own_server: PrivateServer, own_client: Redis) -> None:
        state = redis_state(own_server.url)
        job = drained(state)
        own_client.config_set("maxmemory-policy", "allkeys-random")
        own_client.config_set("maxmemory", int(own_client.info("memory")["used_memory"]) + 1_000_000)
        evicted = (
            own_client.exists(*NAMES.of_run(job)) < len(KEYS_OF_A_RUN)
            for number in range(100_000)
            if own_client.set(f"junk:{number}", b"x" * 10_000)
        )
        assert any(evicted)
        assert state.all_tasks_processed(job) is None
        assert isinstance(state.snapshot(job), Unknown)


class TestRedisRebuild:
    @settings(max_examples=200, deadline=None)
    @given(data=st.data(), total=st.integers(0, 20))
    def test_what_is_accounted_while_the_ledger_is_read_is_kept(
        self, redis_server: PrivateServer, data: st.DataObject, total: int
    ) -> None:
        state, job = redis_state(redis_server.url), new_job()
        some_marks = st.lists(
            st.builds(Mark, st.sampled_from(STATE_MANAGER_STAGES), st.integers(0, 20), st.booleans()), max_size=20
        )
        before, read, meanwhile = data.draw(some_marks), data.draw(some_marks), data.draw(some_marks)

        def ledger() -> Iterator[Mark]:
            yield from read
            state.account(job, meanwhile)

        state.initialise(job, total)
        state.account(job, before)
        known_before = {(mark.stage, mark.ordinal) for mark in before}
        came_since = [mark for mark in meanwhile if (mark.stage, mark.ordinal) not in known_before]
        assert state.rebuild_from(job, total, ledger()).stages == expected_stages(total, [*read, *came_since])
        assert known(state.account(job, marks_of(range(total)))).all_tasks_processed

    def test_what_another_rebuild_wrote_meanwhile_is_kept(self, state: RedisStateManager) -> None:
        job = new_job()
        state.initialise(job, 9)
        state.account(job, marks_of([8]))

        def ledger() -> Iterator[Mark]:
            yield from marks_of([0])
            state.rebuild_from(job, 9, marks_of([1, 8], failed=[1]))
            state.account(job, marks_of([2]))

        rebuilt = state.rebuild_from(job, 9, ledger())
        assert rebuilt.stages == expected_stages(9, marks_of([0, 1, 2, 8], failed=[1]))

    def test_a_flush_while_the_ledger_is_read(self, state: RedisStateManager, client: Redis) -> None:
        job = drained(state, 9)

        def ledger() -> Iterator[Mark]:
            yield from marks_of([0, 1])
            client.flushall()

        assert state.rebuild_from(job, 9, ledger()).stages == expected_stages(9, marks_of([0, 1]))

    def test_a_rebuild_leaves_the_keys_of_the_run_and_no_others(self, state: RedisStateManager, client: Redis) -> None:
        job = drained(state)
        state.rebuild_from(job, 20, marks_of([0]))
        assert {key.decode() for key in client.scan_iter()} == {NAMES.identity, *NAMES.of_run(job)}

    def test_a_negative_total_is_refused(self, state: RedisStateManager) -> None:
        with pytest.raises(ValueError, match="not -1"):
            state.initialise(new_job(), -1)
        with pytest.raises(ValueError, match="not -1"):
            state.rebuild_from(new_job(), -1, ())


class TestRedisKeys:
    def test_keys_share_a_hash_tag_and_never_expire(self, state: RedisStateManager, client: Redis) -> None:
        job = drained(state)
        for key in NAMES.of_run(job):
            assert key.startswith(f"{NAMES.deployment}:{{job:{job.job_id}:1}}:")
            assert client.ttl(key) == -1

    def test_a_million_tasks_take_125_kilobytes_for_each_bitmap(self, state: RedisStateManager, client: Redis) -> None:
        job = new_job()
        state.initialise(job, 1_000_000)
        assert known(state.account(job, marks_of([0, 999_999, 1_000_000]))).newly == 4
        assert [client.strlen(key) for key in NAMES.of_run(job)[1:]] == [125_008] * 4

    def test_cleaning_up_leaves_nothing_of_the_run(self, state: RedisStateManager, client: Redis) -> None:
        job = drained(state)
        state.clean_up(job)
        assert client.keys() == [NAMES.identity.encode()]
        assert reason(state.snapshot(job)) == f"Redis has no state of job {job.job_id}, run 1"

    def test_one_round_trip_for_each_call(self, state: RedisStateManager, client: Redis) -> None:
        job = drained(state)
        before = client.info("stats")["total_reads_processed"]
        state.account(job, marks_of(range(20)))
        state.snapshot(job)
        state.all_tasks_processed(job)
        reads_of_this_test = 1
        assert client.info("stats")["total_reads_processed"] == before + 3 + reads_of_this_test

    def test_a_server_that_forgot_the_scripts_is_told_them_again(self, state: RedisStateManager, client: Redis) -> None:
        job = drained(state)
        client.script_flush()
        assert state.all_tasks_processed(job) is True
        assert known(state.account(job, marks_of([0]))).newly == 0


class TestRedisUnavailable:
    def expect_no_answer(self, state: RedisStateManager, job: JobRef, why: str) -> None:
        """Everything that changes something raises; everything that asks cannot testify."""
        changes = [
            lambda: state.initialise(job, 3),
            lambda: state.account(job, marks_of([0])),
            lambda: state.rebuild_from(job, 3, ()),
            lambda: state.clean_up(job),
        ]
        for change in changes:
            with pytest.raises(EngineUnavailableError, match=why):
                change()
        assert why in reason(state.snapshot(job))
        assert state.all_tasks_processed(job) is None

    def test_connection_refused(self) -> None:
        self.expect_no_answer(redis_state(f"redis://127.0.0.1:{free_port()}/0"), new_job(), "Redis does not answer")

    @pytest.mark.parametrize("credentials", ["", ":letmein@", "nobody:letmein@"])
    def test_wrong_password(self, own_server: PrivateServer, own_client: Redis, credentials: str) -> None:
        own_client.config_set("requirepass", "the right one")
        state = redis_state(own_server.url.replace("//", f"//{credentials}"))
        self.expect_no_answer(state, new_job(), "refuses the user or the password")
        assert "letmein" not in reason(state.snapshot(new_job()))

    def test_a_server_that_hangs(self, own_server: PrivateServer) -> None:
        state = redis_state(own_server.url, timeout_seconds=0.5)
        job = drained(state, 3)
        own_server.pause()
        self.expect_no_answer(state, job, "Timeout")
        own_server.resume()
        state.rebuild_from(job, 3, marks_of([1]))
        assert known(state.account(job, marks_of([1, 2]))).newly == 2

    def test_a_server_that_died_and_came_back_empty(self, own_server: PrivateServer) -> None:
        state = redis_state(own_server.url)
        job = drained(state, 3)
        own_server.kill()
        self.expect_no_answer(state, job, "Redis does not answer")
        own_server.restart()
        assert "flushed" in reason(state.snapshot(job))
        assert state.rebuild_from(job, 3, marks_of(range(3))).all_tasks_processed

    def test_a_request_whose_answer_was_lost_is_sent_again(
        self, state: RedisStateManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job, read, resets = new_job(), Connection.read_response, [True]
        state.initialise(job, 3)

        def read_response(connection: Connection, *arguments: Any, **options: Any) -> Any:
            answer = read(connection, *arguments, **options)
            if resets and resets.pop():
                connection.disconnect()
                raise RedisConnectionError("reset by peer")
            return answer

        monkeypatch.setattr(Connection, "read_response", read_response)
        assert state.account(job, marks_of(range(3))) == Snapshot(expected_stages(3, marks_of(range(3))), 0)

    def test_an_error_that_passes_changes_nothing(self, own_server: PrivateServer, own_client: Redis) -> None:
        state = redis_state(own_server.url)
        job = new_job()
        state.initialise(job, 3)
        own_client.config_set("maxmemory", 1)
        with pytest.raises(EngineUnavailableError, match="maxmemory"):
            state.account(job, marks_of(range(3)))
        own_client.config_set("maxmemory", 0)
        assert known(state.account(job, marks_of(range(3)))).newly == 6

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_forked_process_uses_connections_of_its_own(self, state: RedisStateManager) -> None:
        job = new_job()
        state.initialise(job, 400)
        child = get_context("fork").Process(target=_account_one_by_one, args=(state, job, range(200)))
        child.start()
        _account_one_by_one(state, job, range(200, 400))
        child.join()
        assert child.exitcode == 0
        assert state.all_tasks_processed(job) is True

    @pytest.mark.parametrize("url", ["redis://127.0.0.1/one", "http://127.0.0.1", "redis://127.0.0.1:many/0"])
    def test_a_url_that_redis_does_not_have_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="HEADCOUNT_STATE_URL"):
            redis_state(url)


class TestRedisDiagnosis:
    def test_the_state_of_another_run_is_named(self, state: RedisStateManager) -> None:
        older = drained(state)
        answer = reason(state.snapshot(JobRef(older.job_id, 3)))
        assert answer == f"Redis has no state of job {older.job_id}, run 3, but one of run 1"

    def test_a_state_under_another_database_index_is_found(
        self, state: RedisStateManager, redis_server: PrivateServer
    ) -> None:
        elsewhere = redis_state(f"{redis_server.url.removesuffix('/0')}/3")
        job = drained(state)
        assert "index 3 was never used by this deployment or was flushed" in reason(elsewhere.snapshot(job))
        assert elsewhere.inspection.indexes(job) == (IndexContents(0, IDENTITY, holds_run=True),)
        elsewhere.initialise(new_job(), 1)
        both = (IndexContents(0, IDENTITY, holds_run=True), IndexContents(3, IDENTITY, holds_run=False))
        assert elsewhere.inspection.indexes(job) == state.inspection.indexes(job) == both
        assert elsewhere.inspection.index == 3
        assert isinstance(elsewhere.snapshot(job), Unknown)

    def test_another_deployment_of_the_same_name_is_not_believed(
        self, state: RedisStateManager, redis_server: PrivateServer
    ) -> None:
        stranger = redis_state(redis_server.url, identity=identity_of("another secret"))
        job = drained(state)
        assert "another deployment of the same name" in reason(stranger.account(job, marks_of([0])))
        assert "index 0 is used by another deployment" in reason(stranger.snapshot(new_job()))
        assert stranger.rebuild_from(job, 20, marks_of([1])).stages == expected_stages(20, marks_of([1]))
        assert state.all_tasks_processed(job) is None

    def test_every_run_is_listed_once_whole_or_not(self, state: RedisStateManager, client: Redis) -> None:
        jobs = [drained(state), drained(state), new_job(run=12)]
        state.initialise(jobs[2], 0)
        client.delete(NAMES.of_run(jobs[1])[0])
        client.set("headcount-testing:{job:1:1}:record", "of another deployment")
        assert sorted(state.inspection.runs()) == sorted(jobs)

    @pytest.mark.parametrize(
        ("policy", "may_evict_state"), [("noeviction", False), ("volatile-lru", False), ("allkeys-lru", True)]
    )
    def test_a_policy_that_evicts_is_reported(
        self, own_server: PrivateServer, own_client: Redis, policy: str, may_evict_state: bool
    ) -> None:
        own_client.config_set("maxmemory-policy", policy)
        found = redis_state(own_server.url).inspection.memory_policy()
        assert found == MemoryPolicy(policy, 0)
        assert found.may_evict_state is may_evict_state

    def test_an_inspection_of_a_server_that_is_gone_says_so(self) -> None:
        inspection = redis_state(f"redis://127.0.0.1:{free_port()}/0").inspection
        for look in (inspection.memory_policy, lambda: list(inspection.runs()), lambda: inspection.indexes(new_job())):
            with pytest.raises(EngineUnavailableError, match="Redis does not answer"):
                look()


def _account_one_by_one(state: RedisStateManager, job: JobRef, ordinals: range) -> None:
    for ordinal in ordinals:
        assert known(state.account(job, marks_of([ordinal]))).newly == 2
