"""What an inspection of a NATS server tells: whether the server, its clock, the account and the stream will do."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from headcount.clock import system_clock
from headcount.domain.records import JobRef
from headcount.engines.nats.checks import inspect
from headcount.engines.nats.connection import NatsConnection
from headcount.engines.nats.names import Names
from headcount.engines.nats.queue import NatsTaskQueue
from headcount.errors import EngineUnavailableError
from headcount.testing import servers
from headcount.testing.clock import FrozenClock
from headcount.testing.contracts.queue_holder import JOB, LONG
from headcount.testing.servers import PrivateServer
from tests.contracts.nats_deployment import TIMEOUT, Deployment, numbers, stream_of


@pytest.fixture
def deployment(nats_server: PrivateServer, clock: FrozenClock) -> Iterator[Deployment]:
    """A deployment on a server that other tests share."""
    made = Deployment(nats_server, clock, f"inspected-{next(numbers)}")
    yield made
    made.close()


class TestInspection:
    def test_a_good_server_has_no_problem(self, nats_server: PrivateServer) -> None:
        found = inspect([nats_server.url], "inspected", system_clock)
        assert found.has_jetstream
        assert found.problems == ()
        assert found.clock_skew is not None
        assert re.fullmatch(r"2\.\d+\.\d+", found.server_version)

    def test_a_clock_apart_is_told(self, nats_server: PrivateServer, clock: FrozenClock) -> None:
        found = inspect([nats_server.url], "inspected", clock)
        assert found.clock_skew is not None
        assert abs(found.clock_skew - (system_clock() - clock())) < timedelta(minutes=1)
        assert any("NTP" in problem.remedy for problem in found.problems)

    def test_a_server_without_jetstream_is_told(self, newest_nats: PrivateServer) -> None:
        with servers.nats_server(has_jetstream=False) as server:
            found = inspect([server.url], "inspected", system_clock)
        assert not found.has_jetstream
        assert any("-js" in problem.remedy for problem in found.problems)

    def test_a_foreign_stream_is_told(self, deployment: Deployment, nats_server: PrivateServer) -> None:
        names = deployment.names
        deployment.outsider.run(lambda session: session.manager.add_stream(name=names.stream, subjects=["foreign.a"]))
        found = inspect([nats_server.url], names.deployment, system_clock)
        assert any(names.stream in problem.seen for problem in found.problems)

    @pytest.mark.parametrize("granted", [5, 1_000])
    def test_a_stream_with_little_room_for_jobs_is_told(
        self, deployment: Deployment, nats_server: PrivateServer, granted: int
    ) -> None:
        deployment.make_stream(max_consumers=granted)
        [problem] = inspect([nats_server.url], deployment.names.deployment, system_clock).problems
        assert problem.seen.startswith(f"stream {deployment.names.stream} takes {granted:,} consumers")
        assert f"nats stream rm {deployment.names.stream}" in problem.remedy

    def test_following_the_advice_gives_the_stream_room(
        self, deployment: Deployment, nats_server: PrivateServer
    ) -> None:
        deployment.make_stream(max_consumers=1)
        deployment.queue.publish(JOB, [0])
        with pytest.raises(EngineUnavailableError, match="maximum consumers limit reached"):
            deployment.queue.publish(JobRef(8, 1), [0])
        deployment.delete_stream()
        deployment.queue.publish(JobRef(8, 1), [0])
        assert inspect([nats_server.url], deployment.names.deployment, system_clock).problems == ()

    def test_a_stream_without_a_limit_is_told_where_the_server_has_one(
        self, deployment: Deployment, nats_server: PrivateServer
    ) -> None:
        deployment.make_stream(max_consumers=None)
        found = inspect([nats_server.url], deployment.names.deployment, system_clock)
        told = [problem.seen for problem in found.problems]
        version = tuple(map(int, found.server_version.split(".")))
        assert ["takes 1,000 consumers" in seen for seen in told] == ([True] if version >= (2, 15) else [])


ACCOUNTS = """
accounts {
  diskless: { users: [{ user: diskless, password: x }], jetstream: { max_file: 0 } }
  memoryless: { users: [{ user: memoryless, password: x }], jetstream: { max_mem: 0 } }
  narrow: { users: [{ user: narrow, password: x }], jetstream: { max_consumers: 7 } }
  wide: { users: [{ user: wide, password: x }], jetstream: { max_consumers: 1000000 } }
  mute: { users: [{ user: mute, password: x, permissions: { publish: { deny: "$JS.API.INFO" } } }], jetstream: enabled }
}
"""


@pytest.fixture(scope="module")
def accounts(newest_nats: PrivateServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    """A server whose accounts may each have something else."""
    file = tmp_path_factory.mktemp("accounts") / "nats.conf"
    file.write_text(ACCOUNTS)
    with servers.nats_server(options=["-c", str(file)]) as server:
        yield server


class TestInspectionOfAnAccount:
    @pytest.mark.parametrize("account", ["memoryless", "wide", "mute"])
    def test_what_the_queue_does_not_need_is_not_missed(self, accounts: PrivateServer, account: str) -> None:
        assert inspect([url_of(accounts, account)], "counted", system_clock).problems == ()
        queue = queue_of(accounts, account)
        queue.publish(JOB, [0])
        queue.close()

    def test_an_account_without_disk_is_told(self, accounts: PrivateServer) -> None:
        [problem] = inspect([url_of(accounts, "diskless")], "counted", system_clock).problems
        assert problem.seen == "the NATS account may keep nothing on disk"
        assert "max_file" in problem.remedy

    def test_an_account_with_few_consumers_is_told_before_and_after_the_stream_is_made(
        self, accounts: PrivateServer
    ) -> None:
        url = url_of(accounts, "narrow")
        queue = queue_of(accounts, "narrow")
        with pytest.raises(EngineUnavailableError, match="maximum consumers"):
            queue.publish(JOB, [0])
        queue.close()
        [before] = inspect([url], "counted", system_clock).problems
        outsider = NatsConnection([url], name="outsider", timeout=TIMEOUT)
        outsider.run(lambda session: session.manager.add_stream(stream_of(Names("counted"))))
        outsider.close()
        [after] = inspect([url], "counted", system_clock).problems
        for problem in (before, after):
            assert problem.seen.startswith("the NATS account allows a stream 7 consumers")
            assert "lift the account's max_consumers" in problem.remedy


def url_of(server: PrivateServer, account: str) -> str:
    return server.url.replace("nats://", f"nats://{account}:x@")


def queue_of(server: PrivateServer, account: str) -> NatsTaskQueue:
    return NatsTaskQueue([url_of(server, account)], deployment_name="counted", lease=LONG, timeout=TIMEOUT)
