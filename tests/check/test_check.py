"""``headcount check`` against servers that are wrong in each of the ways it knows."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from redis import Redis

from headcount.checks.database import clock_skew
from headcount.checks.deployment import check_deployment
from headcount.checks.finding import Finding
from headcount.conf import Settings
from headcount.domain.records import JobRef
from headcount.engines.redis.keys import identity_of
from headcount.engines.redis.state import RedisStateManager
from headcount.testing.servers import PrivateServer, free_port, newest_nats
from headcount.testing.waiting import wait_until
from tests.servers import newest_nats as newest_nats_server
from tests.servers import postgres_server, rabbitmq_url, redis_server
from tests.settings import HEADCOUNT

__all__ = ["newest_nats_server", "postgres_server", "rabbitmq_url", "redis_server"]

pytestmark = pytest.mark.django_db
KEY = "a key that every host shares"


def settings(**changes: Any) -> Settings:
    return Settings(**{**HEADCOUNT.model_dump(), "secret_key": KEY, **changes})


def wrong(settings: Settings) -> list[str]:
    return [f"{finding.about}: {finding.seen}; {finding.remedy}" for finding in findings(settings, is_ok=False)]


def findings(settings: Settings, *, is_ok: bool) -> list[Finding]:
    return [finding for finding in check_deployment(settings) if finding.is_ok is is_ok]


def about(settings: Settings, name: str) -> list[str]:
    return [line for line in wrong(settings) if line.startswith(f"{name}: ")]


def run_check(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headcount", "check", *arguments]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "headcount.site.settings", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_nothing_is_wrong_with_an_embedded_deployment() -> None:
    assert wrong(Settings(**{**HEADCOUNT.model_dump(), "database_url": "", "secret_key": ""})) == []


def test_the_command_prints_json_and_exits_0_where_all_is_well(tmp_path: Path) -> None:
    done = run_check("--json", HEADCOUNT_DATA_DIR=str(tmp_path), HEADCOUNT_DATABASE_URL="")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {item["about"] for item in found} >= {"database", "tables", "hosts", "secret key", "engines"}
    assert all(item["ok"] and not item["remedy"] for item in found)


def test_the_command_exits_2_with_a_line_for_each_thing_that_is_wrong(tmp_path: Path) -> None:
    port = free_port()
    done = run_check(
        HEADCOUNT_DATA_DIR=str(tmp_path),
        HEADCOUNT_DATABASE_URL=f"postgresql://nobody@127.0.0.1:{port}/nothing",
        HEADCOUNT_QUEUE_URL=f"nats://127.0.0.1:{port}",
        HEADCOUNT_STATE_URL=f"redis://127.0.0.1:{port}/0",
        HEADCOUNT_BROKER_URL=f"amqp://guest:guest@127.0.0.1:{port}//",
        HEADCOUNT_SECRET_KEY="",
    )
    assert done.returncode == 2
    lines = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    assert [line.split()[1].rstrip(":") for line in lines] == ["database", "secret", "queue", "state", "broker"]
    assert done.stderr == ""


def test_everything_that_answers_is_found_well(
    newest_nats_server: PrivateServer, redis_server: PrivateServer, rabbitmq_url: str
) -> None:
    told = settings(
        queue_url=newest_nats_server.url, state_url=redis_server.url, broker_url=rabbitmq_url, deployment_name="well"
    )
    good = {finding.about for finding in findings(told, is_ok=True)}
    assert good >= {"database", "queue", "state manager", "broker", "engines"}


def test_jetstream_that_is_off_is_told_from_nats_that_is_away() -> None:
    port = free_port()
    server = subprocess.Popen([newest_nats(), "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    try:
        told = settings(queue_url=f"nats://127.0.0.1:{port}")
        wait_until(lambda: "does not answer" not in about(told, "queue")[0], "NATS answers")
        assert about(told, "queue") == [
            "queue: NATS answers, but JetStream is off; start nats-server with -js -sd DIRECTORY"
        ]
    finally:
        server.terminate()
        server.wait(10)


def test_a_stream_that_is_not_ours_is_named(newest_nats_server: PrivateServer) -> None:
    async def take_the_name() -> None:
        client = await nats.connect(newest_nats_server.url)
        await client.jetstream().add_stream(name="taken_TASKS", subjects=["foreign.taken"])
        await client.close()

    asyncio.run(take_the_name())
    assert about(settings(queue_url=newest_nats_server.url, deployment_name="taken"), "queue") == [
        "queue: stream taken_TASKS is not this deployment's; delete it, or choose another HEADCOUNT_DEPLOYMENT_NAME"
    ]


@pytest.fixture
def evicting_redis(redis_server: PrivateServer) -> Iterator[PrivateServer]:
    with Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield redis_server
        client.config_set("maxmemory-policy", "noeviction")


def test_a_redis_that_evicts_is_named(evicting_redis: PrivateServer) -> None:
    lines = about(settings(state_url=evicting_redis.url, deployment_name="evicted"), "state manager")
    assert len(lines) == 1
    assert "allkeys-lru" in lines[0]
    assert "noeviction" in lines[0]


def sign(server: PrivateServer, index: int, deployment: str, key: str) -> None:
    url = server.url.removesuffix("/0") + f"/{index}"
    state = RedisStateManager(url, deployment=deployment, identity=identity_of(key))
    state.initialise(JobRef(1, 1), 1)


def test_another_database_index_than_its_peers_is_named(redis_server: PrivateServer) -> None:
    sign(redis_server, 3, "apart", KEY)
    lines = about(settings(state_url=redis_server.url, deployment_name="apart"), "state manager")
    assert len(lines) == 1
    assert "this process uses database index 0, its peers use 3" in lines[0]
    assert lines[0].endswith("let HEADCOUNT_STATE_URL end in /3 on every host")
    sign(redis_server, 0, "apart", KEY)
    [line] = about(settings(state_url=redis_server.url, deployment_name="apart"), "state manager")
    assert "has used database index 0, and 3 as well" in line
    command = line.rpartition("redis-cli ")[2].split()
    with Redis.from_url(redis_server.url.removesuffix("/0") + f"/{command[1]}") as client:
        assert client.execute_command(*command[2:]) == 1
    assert about(settings(state_url=redis_server.url, deployment_name="apart"), "state manager") == []


def test_another_deployment_of_the_same_name_is_named(redis_server: PrivateServer) -> None:
    sign(redis_server, 0, "twin", "another key")
    lines = about(settings(state_url=redis_server.url, deployment_name="twin"), "state manager")
    assert "another deployment called 'twin'" in lines[0]


def test_tables_that_are_missing_on_a_server_are_named(postgres_server: PrivateServer, tmp_path: Path) -> None:
    done = run_check(
        HEADCOUNT_DATA_DIR=str(tmp_path), HEADCOUNT_DATABASE_URL=postgres_server.url, HEADCOUNT_SECRET_KEY=KEY
    )
    assert done.returncode == 2
    [line] = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    assert line.endswith("run: headcount migrate")
    assert "ok    clock" in done.stdout


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, ""), (1.9, ""), (-1.9, ""), (2.5, "2.5 s ahead of"), (-3600, "3600.0 s behind")]
)
def test_clocks_that_disagree_are_named(seconds: float, words: str) -> None:
    there = datetime(2026, 1, 1, tzinfo=UTC)
    finding = clock_skew(there, there + timedelta(seconds=seconds))
    assert finding.is_ok is not bool(words)
    assert words in finding.seen


CHECK_WITH_ANOTHER_CLOCK = """
import sys
from datetime import timedelta
from headcount.checks import database
from headcount.clock import system_clock
from headcount.cli.main import main
database.system_clock = lambda: system_clock() - timedelta(hours=1)
sys.argv = ["headcount", "check"]
main()
"""


def test_a_host_whose_clock_is_behind_that_of_a_real_server_is_told_so(
    postgres_server: PrivateServer, tmp_path: Path
) -> None:
    variables = {
        "DJANGO_SETTINGS_MODULE": "headcount.site.settings",
        "HEADCOUNT_DATA_DIR": str(tmp_path),
        "HEADCOUNT_DATABASE_URL": postgres_server.url,
        "HEADCOUNT_SECRET_KEY": KEY,
    }
    command = [sys.executable, "-c", CHECK_WITH_ANOTHER_CLOCK]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("WRONG clock")]
    assert "s behind the database; leases would end at different times" in line
    assert line.endswith("let NTP set the clocks of all hosts")


@pytest.mark.parametrize("changes", [{"queue_url": "nats://h"}, {"state_url": "redis://h"}, {"broker_url": "amqp://h"}])
def test_sqlite_with_a_server_is_named(changes: dict[str, str], tmp_path: Path) -> None:
    name = next(iter(changes))
    port = free_port()
    done = run_check(
        HEADCOUNT_DATA_DIR=str(tmp_path),
        HEADCOUNT_DATABASE_URL="",
        **{f"HEADCOUNT_{name.upper()}": f"{changes[name].removesuffix('h')}127.0.0.1:{port}"},
    )
    assert "WRONG hosts: SQLite is a file of one host" in done.stdout


def test_a_key_that_each_host_would_make_for_itself_is_named() -> None:
    told = settings(secret_key="", broker_url=f"amqp://127.0.0.1:{free_port()}")
    assert "HEADCOUNT_SECRET_KEY is not set" in about(told, "secret key")[0]


def test_an_engine_nobody_knows_is_named_with_those_that_exist() -> None:
    assert "'kafka'; there are nats://, tls://" in about(settings(queue_url="kafka://h"), "queue")[0]


def test_a_library_that_is_not_installed_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = ("headcount.checks.jet", "headcount.engines.nats", "nats.")
    for module in [name for name in sys.modules if name.startswith(loaded)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "nats", None)
    lines = about(settings(queue_url="nats://127.0.0.1"), "queue")
    assert len(lines) == 1
    assert lines[0].endswith("HEADCOUNT_QUEUE_URL=nats://… needs 'nats': run pip install 'headcount[distributed]'")


def test_the_embedded_deployment_loads_no_library_of_the_distributed_one(tmp_path: Path) -> None:
    program = """
import sys
import headcount.cli.setup
import headcount.cli.serve
from headcount.wiring import deployment
deployment()
print(sorted({"celery", "kombu", "amqp", "nats", "redis", "granian", "psycopg", "psycopg_pool"} & set(sys.modules)))
"""
    environment = {**os.environ, "HEADCOUNT_DATA_DIR": str(tmp_path), "HEADCOUNT_DATABASE_URL": ""}
    environment["DJANGO_SETTINGS_MODULE"] = "headcount.site.settings"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
