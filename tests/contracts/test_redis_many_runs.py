"""Redis asked about many runs at once: in few round trips, each run answering for itself; and what it holds."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from redis import Redis
from redis.client import Pipeline

from headcount.clock import system_clock
from headcount.engines.redis.state import RedisStateManager
from headcount.ports.holdings import HeldRun, Holdings
from headcount.ports.state_manager import Silence, Snapshot, Unknown
from headcount.testing.contracts.state_marks import known, new_job
from headcount.testing.servers import PrivateServer, free_port
from tests.contracts.test_state_manager import (
    NAMES,
    client,
    drained,
    own_client,
    own_server,
    reason,
    redis_server,
    redis_state,
    state,
)

__all__ = ["client", "own_client", "own_server", "redis_server", "state"]


class TestRedisManyRuns:
    @pytest.fixture
    def round_trips(self, monkeypatch: pytest.MonkeyPatch) -> list[object]:
        """One entry for each time that a command or a pipeline was sent."""
        sent: list[object] = []

        def count(call: Callable[..., object]) -> Callable[..., object]:
            def counted(self: object, *args: object, **options: object) -> object:
                sent.append(self)
                return call(self, *args, **options)

            return counted

        monkeypatch.setattr(Redis, "execute_command", count(Redis.execute_command))
        monkeypatch.setattr(Pipeline, "execute", count(Pipeline.execute))
        return sent

    def test_a_page_costs_one_round_trip_and_four_where_runs_are_absent(
        self, state: RedisStateManager, round_trips: list[object]
    ) -> None:
        present = [drained(state, total=3) for _ in range(100)]
        round_trips.clear()
        assert all(isinstance(answer, Snapshot) for answer in state.snapshots(present).values())
        assert len(round_trips) == 1
        round_trips.clear()
        state.snapshots([*present, *(new_job() for _ in range(900))])
        assert len(round_trips) <= 4

    def test_a_server_that_forgot_its_scripts_is_asked_no_second_time(
        self, state: RedisStateManager, client: Redis, round_trips: list[object]
    ) -> None:
        job = drained(state)
        client.script_flush()
        round_trips.clear()
        assert known(state.snapshots([job])[job]).all_tasks_processed
        assert len(round_trips) == 1

    def test_each_run_answers_for_itself(self, state: RedisStateManager, client: Redis) -> None:
        whole, evicted, odd, absent = drained(state), drained(state), drained(state), new_job()
        client.delete(NAMES.of_run(evicted)[2])
        client.delete(NAMES.of_run(odd)[0])
        client.set(NAMES.of_run(odd)[0], "a text where a hash should be")
        answers = state.snapshots([evicted, whole, absent, odd])
        assert known(answers[whole]).all_tasks_processed
        silences = {job: answer.silence for job, answer in answers.items() if isinstance(answer, Unknown)}
        assert silences == {evicted: Silence.BROKEN, absent: Silence.ABSENT, odd: Silence.BROKEN}

    def test_a_run_under_another_database_index_is_said_to_be_there(
        self, state: RedisStateManager, redis_server: PrivateServer
    ) -> None:
        elsewhere = redis_state(f"{redis_server.url.removesuffix('/0')}/3")
        here, nowhere = drained(state), new_job()
        answers = elsewhere.snapshots([here, nowhere])
        assert "it lies under database index 0: correct HEADCOUNT_STATE_URL" in reason(answers[here])
        silences = [answer.silence for answer in answers.values() if isinstance(answer, Unknown)]
        assert silences == [Silence.ELSEWHERE, Silence.ABSENT]

    def test_a_server_that_is_gone_is_unheard_for_every_run(self) -> None:
        jobs = [new_job(), new_job()]
        answers = redis_state(f"redis://127.0.0.1:{free_port()}/0").snapshots(jobs)
        assert list(answers) == jobs
        for answer in answers.values():
            assert "Redis does not answer" in reason(answer)
            assert isinstance(answer, Unknown)
            assert answer.silence is Silence.UNHEARD

    def test_what_is_held_is_told_with_when_it_was_last_used(self, state: RedisStateManager, client: Redis) -> None:
        job = drained(state)
        client.set(f"{NAMES.deployment}:import", "somebody's")
        client.set(f"{NAMES.deployment}:{{job:x:1}}:record", "somebody's too")
        before = system_clock()
        holdings = state.held_runs()
        assert [held.job for held in holdings.runs] == [job]
        since = holdings.runs[0].since
        assert since is not None
        assert before - timedelta(minutes=1) < since <= system_clock()
        assert holdings.unreadable == (f"{NAMES.deployment}:import", f"{NAMES.deployment}:{{job:x:1}}:record")

    def test_since_when_is_not_told_where_redis_counts_how_often_instead(
        self, own_server: PrivateServer, own_client: Redis
    ) -> None:
        state = redis_state(own_server.url)
        own_client.config_set("maxmemory-policy", "allkeys-lfu")
        jobs = [drained(state), drained(state)]
        assert state.held_runs() == Holdings(tuple(HeldRun(job, None) for job in jobs))
