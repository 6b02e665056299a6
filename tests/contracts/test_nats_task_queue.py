"""What the NATS queue does beyond the contract: losses, crashes, silence, threads, forks, and words on the wire."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from urllib.request import urlopen

import pytest
from nats.aio.msg import Msg

from headcount.domain.records import JobRef
from headcount.engines.nats.names import Names, incarnation_of, pack, unpack
from headcount.engines.nats.places import Places
from headcount.engines.nats.queue import NatsTaskQueue
from headcount.errors import ConfigurationError, EngineUnavailableError
from headcount.ports.task_queue import Delivery, QueueDepth
from headcount.testing import servers
from headcount.testing.clock import FrozenClock
from headcount.testing.contracts.queue_holder import JOB, LONG, OPERATIONS, ordinals
from headcount.testing.servers import HOST, PrivateServer, free_port
from headcount.testing.waiting import wait_until
from tests.contracts.nats_deployment import TIMEOUT, Deployment, numbers

KNOWN_SUBJECTS = re.compile(
    r"""
    _INBOX\..* | {name}\.tasks\.\d+\.\d+ | {name}\.news
    | \$JS\.ACK\.{name}_TASKS\.job-\d+-run-\d+-[0-9a-f]{{5}}\.1\.\d+\.\d+\.0\.0
    | \$JS\.API\.STREAM\.(INFO|CREATE|PURGE|MSG\.GET|MSG\.DELETE)\.{name}_TASKS
    | \$JS\.API\.CONSUMER\.(INFO|DELETE|DURABLE\.CREATE|MSG\.NEXT)\.{name}_TASKS\.job-\d+-run-\d+-[0-9a-f]{{5}}
    | \$JS\.API\.CONSUMER\.LIST\.{name}_TASKS
    | \$JS\.EVENT\..*
    """.format(name="wire"),
    re.VERBOSE,
)


@pytest.fixture
def deployment(nats_server: PrivateServer, clock: FrozenClock) -> Iterator[Deployment]:
    """A deployment on a server that other tests share."""
    made = Deployment(nats_server, clock, f"nats-{next(numbers)}")
    yield made
    made.close()


@pytest.fixture
def doomed(own_nats_server: PrivateServer, clock: FrozenClock) -> Iterator[Deployment]:
    """A deployment on a server that is this test's to kill."""
    made = Deployment(own_nats_server, clock, "doomed")
    yield made
    made.close()


class TestLoss:
    def test_a_deleted_stream_is_unknown_until_it_is_published_again(self, deployment: Deployment) -> None:
        queue = deployment.queue
        queue.publish(JOB, range(4))
        deployment.holder.claim_all(2)
        deployment.delete_stream()
        assert deployment.holder.claim() == []
        assert queue.depth(JOB) is None
        queue.publish(JOB, range(4), generation=1)
        assert ordinals(deployment.holder.claim_all(4)) == [0, 1, 2, 3]

    def test_a_lease_from_a_deleted_stream_touches_nothing_in_the_next(self, deployment: Deployment) -> None:
        queue = deployment.queue
        queue.publish(JOB, range(4))
        before = deployment.holder.claim_all(4)
        deployment.delete_stream()
        other = JobRef(8, 1)
        queue.publish(other, range(4))
        held = deployment.holder.claim_all(2, other)
        queue.acknowledge(JOB, before)
        queue.release(JOB, before)
        deployment.holder.extend(before)
        assert queue.depth(other) == QueueDepth(2, 2, 0)
        queue.acknowledge(other, held)
        assert queue.depth(other) == QueueDepth(2, 0, 0)

    def test_a_deleted_consumer_is_made_again_while_tasks_are_there(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(4))
        deployment.holder.claim_all(2)
        deployment.delete_consumers()
        assert deployment.queue.depth(JOB) is None
        assert ordinals(deployment.holder.claim_all(4)) == [0, 1, 2, 3]

    def test_a_lease_from_a_deleted_consumer_still_removes_its_task(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(4))
        before = deployment.holder.claim_all(4)
        deployment.delete_consumers()
        deployment.queue.acknowledge(JOB, before[:1])
        assert ordinals(deployment.holder.claim_all(1)) == [1]
        deployment.queue.acknowledge(JOB, before[2:3])
        assert ordinals(deployment.holder.claim_all(1)) == [3]
        assert deployment.holder.claim() == []

    def test_what_is_gone_already_is_acknowledged_again_without_its_consumer(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(2))
        before = deployment.holder.claim_all(2)
        deployment.delete_consumers()
        for _ in range(2):
            deployment.queue.acknowledge(JOB, before)
        beyond_the_last = replace(before[1], sequence=before[1].sequence + 7)
        deployment.queue.acknowledge(JOB, [beyond_the_last])
        assert deployment.holder.claim() == []

    def test_a_stream_that_keeps_what_is_acknowledged_without_a_consumer_is_told(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(2))
        before = deployment.holder.claim_all(2)
        deployment.forbid_deletion()
        deployment.delete_consumers()
        with pytest.raises(EngineUnavailableError, match="delete not permitted"):
            deployment.queue.acknowledge(JOB, before)
        assert ordinals(deployment.holder.claim_all(2)) == [0, 1]

    def test_a_run_removed_while_a_claim_makes_its_consumer_again_is_gone(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deployment.queue.publish(JOB, range(4))
        deployment.delete_consumers()
        another = deployment.another_process()
        make = Places._make_consumer
        removed = []

        async def make_after_removal(*arguments: Any) -> None:
            removed.append(await asyncio.to_thread(another.remove, JOB))
            await make(*arguments)

        monkeypatch.setattr(Places, "_make_consumer", make_after_removal)
        with closing(another):
            assert deployment.holder.claim() == []
        assert removed
        assert deployment.queue.depth(JOB) is None
        assert deployment.queue.held_runs().runs == ()

    def test_a_claim_for_a_run_without_tasks_makes_nothing(self, deployment: Deployment) -> None:
        deployment.queue.publish(JobRef(8, 1), [0])
        assert deployment.holder.claim() == []
        assert deployment.queue.depth(JOB) is None

    def test_a_stream_deleted_under_claims_leaves_them_working(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(300))
        is_over = Event()
        taken: list[int] = []

        def work(number: int) -> None:
            while not is_over.is_set():
                taken.extend(ordinals(deployment.holder.claim(3)))

        with ThreadPoolExecutor(4) as threads:
            working = [threads.submit(work, number) for number in range(4)]
            try:
                wait_until(lambda: len(taken) >= 30, "the claims are under way")
                deployment.delete_stream()
                deployment.queue.publish(JOB, range(1000, 1300), generation=1)
                wait_until(lambda: set(range(1000, 1300)) <= set(taken), "every republished task is taken")
            finally:
                is_over.set()
        for future in working:
            future.result()
        assert len([ordinal for ordinal in taken if ordinal >= 1000]) == 300

    def test_a_message_that_is_no_task_does_not_stop_claims(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(2))
        deployment.outsider.run(
            lambda session: session.client.request(deployment.names.run(JOB), b"+ACK", timeout=session.timeout)
        )
        assert ordinals(deployment.holder.claim_all(2)) == [0, 1]
        assert deployment.holder.claim() == []
        # That it is no task is told to the server without waiting for an answer.
        wait_until(lambda: deployment.queue.depth(JOB) == QueueDepth(0, 2, 0), "only the tasks are held")


class TestCrash:
    def test_a_killed_server_loses_no_task(self, doomed: Deployment, own_nats_server: PrivateServer) -> None:
        """Of the acknowledged tasks the last few may come back: a server removes messages on disk with a delay."""
        doomed.queue.publish(JOB, range(300))
        held = doomed.holder.claim_all(100)
        doomed.queue.acknowledge(JOB, held[:50])
        own_nats_server.kill()
        own_nats_server.restart()
        doomed.queue.release(JOB, held[50:])
        unfinished = set(range(300)) - {delivery.ordinal for delivery in held[:50]}
        returned: list[int] = []

        def all_are_back() -> bool:
            returned.extend(ordinals(doomed.holder.claim()))
            return unfinished <= set(returned)

        wait_until(all_are_back, "every unfinished task is back")
        assert len(returned) == len(set(returned))
        assert set(returned) <= set(range(300))

    def test_what_was_acknowledged_stays_so_over_an_orderly_restart(
        self, doomed: Deployment, own_nats_server: PrivateServer
    ) -> None:
        doomed.queue.publish(JOB, range(100))
        doomed.queue.acknowledge(JOB, doomed.holder.claim_all(60))
        own_nats_server.restart()
        assert doomed.queue.depth(JOB) == QueueDepth(40, 0, 0)
        assert len(doomed.holder.claim_all(40)) == 40
        assert doomed.holder.claim() == []

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_calls_fail_during_an_outage_and_work_after_it(
        self, doomed: Deployment, own_nats_server: PrivateServer, operation: object
    ) -> None:
        assert callable(operation)
        doomed.queue.publish(JOB, range(2))
        own_nats_server.kill()
        for _ in range(2):
            with pytest.raises(EngineUnavailableError, match=rf"{HOST}:{own_nats_server.port}"):
                operation(doomed.holder)
        own_nats_server.restart()
        operation(doomed.holder)

    def test_a_publication_interrupted_by_a_hung_server_is_repeated_exactly(
        self, doomed: Deployment, own_nats_server: PrivateServer
    ) -> None:
        def is_under_way() -> bool:
            depth = doomed.queue.depth(JOB)
            return depth is not None and depth.pending > 0

        with ThreadPoolExecutor(1) as threads:
            publishing = threads.submit(doomed.queue.publish, JOB, range(30_000))
            wait_until(is_under_way, "the first tasks are in the queue")
            own_nats_server.pause()
            with pytest.raises(EngineUnavailableError, match="unconfirmed"):
                publishing.result()
        own_nats_server.resume()
        doomed.queue.publish(JOB, range(30_000))
        assert doomed.queue.depth(JOB) == QueueDepth(30_000, 0, 0)

    def test_a_server_without_jetstream_is_an_engine_that_does_not_answer(
        self, newest_nats: PrivateServer, clock: FrozenClock
    ) -> None:
        with servers.nats_server(has_jetstream=False) as server:
            deployment = Deployment(server, clock, "plain")
            with pytest.raises(EngineUnavailableError):
                deployment.queue.publish(JOB, [0])
            deployment.close()


class TestConnection:
    def test_threads_share_one_connection(self, newest_nats: PrivateServer, clock: FrozenClock) -> None:
        monitor = free_port()
        with servers.nats_server(options=["-m", str(monitor)]) as server:
            deployment = Deployment(server, clock, "shared")
            deployment.queue.publish(JOB, range(200))
            with ThreadPoolExecutor(16) as threads:
                taken = list(threads.map(lambda number: deployment.holder.claim_all(1)[0], range(200)))
            with urlopen(f"http://{HOST}:{monitor}/connz") as answer:
                assert json.load(answer)["num_connections"] == 1
            assert ordinals(taken) == list(range(200))
            deployment.close()

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_a_fork_has_a_connection_of_its_own(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(4))
        mine = deployment.holder.claim_all(1)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writer, b"%d" % deployment.holder.claim_all(1)[0].ordinal)
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            taken_by_child = int(pipe.read())
        os.waitpid(child, 0)
        mine += deployment.holder.claim_all(2)
        assert sorted([*ordinals(mine), taken_by_child]) == [0, 1, 2, 3]

    def test_a_closed_queue_connects_again(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(2))
        deployment.queue.close()
        deployment.queue.close()
        assert deployment.queue.depth(JOB) == QueueDepth(2, 0, 0)

    def test_a_lease_other_than_the_consumers_is_refused(self, deployment: Deployment, clock: FrozenClock) -> None:
        with pytest.raises(ConfigurationError, match="leases tasks for 0:01:00"):
            deployment.queue.claim(JOB, 1, lease=LONG * 2, now=clock())
        with pytest.raises(ConfigurationError, match="leases tasks for 0:01:00"):
            deployment.queue.extend(JOB, [Delivery(0, 1)], lease=LONG * 2, now=clock())


class TestNews:
    def test_a_process_that_has_asked_for_nothing_yet_hears(self, deployment: Deployment) -> None:
        with closing(deployment.another_process()) as another:
            news = another.listen()
            wait_until(lambda: news.count == 1, "it is connected, and has missed what was said before")
            deployment.queue.publish(JOB, [0])
            wait_until(lambda: news.count > 1, "the publication is heard of")
            assert news.count == 2

    def test_what_is_said_while_the_server_is_away_is_made_up_for(
        self, doomed: Deployment, own_nats_server: PrivateServer
    ) -> None:
        doomed.queue.publish(JOB, [0])
        own_nats_server.kill()
        wait_until(lambda: not is_connected(doomed), "the connection is lost")
        news = doomed.queue.listen()
        heard = news.count
        own_nats_server.restart()

        def is_told() -> bool:
            doomed.queue.listen()
            return news.count > heard

        wait_until(is_told, "it is connected again and looks")
        assert is_connected(doomed)

    def test_another_deployment_hears_nothing(self, deployment: Deployment, nats_server: PrivateServer) -> None:
        with closing(NatsTaskQueue([nats_server.url], deployment_name="another", lease=LONG, timeout=TIMEOUT)) as other:
            news = other.listen()
            wait_until(lambda: news.count == 1, "the other is connected")
            deployment.queue.publish(JOB, [0])
            deployment.queue.depth(JOB)
            other.publish(JOB, [0])
            wait_until(lambda: news.count > 1, "the other hears of its own")
            assert news.count == 2


def is_connected(deployment: Deployment) -> bool:
    line = deployment.queue._connection._line
    return line is not None and line.is_open


class TestWire:
    def test_only_known_subjects_go_over_the_wire(self, own_nats_server: PrivateServer, clock: FrozenClock) -> None:
        wire = Deployment(own_nats_server, clock, "wire")
        seen: list[str] = []

        async def note(message: Msg) -> None:
            seen.append(message.subject)

        wire.outsider.run(lambda session: session.client.subscribe(">", cb=note))
        for job in (JOB, JobRef(2**40, 3)):
            wire.queue.publish(job, range(6))
            wire.queue.acknowledge(job, wire.holder.claim_all(2, job))
            wire.queue.release(job, wire.holder.claim_all(2, job))
            wire.queue.depth(job)
            wire.queue.depths([job, JobRef(5, 5)])
            wire.queue.held_runs()
            wire.queue.remove(job)
        self._post_inventions(wire)
        wire.queue.publish(JobRef(99, 9), [0])
        wait_until(lambda: "wire.tasks.99.9" in seen, "the last message is seen")
        assert [subject for subject in seen if not KNOWN_SUBJECTS.fullmatch(subject)] == []
        assert any(subject.startswith("$JS.ACK") for subject in seen)
        wire.close()

    @staticmethod
    def _post_inventions(wire: Deployment) -> None:
        for invented in ("$JS.API.STREAM.PURGE.wire_TASKS", "1.2", "", None, 1.5):
            delivery = Delivery(ordinal=0, sequence=invented)  # type: ignore[arg-type]
            for settle in (wire.queue.acknowledge, wire.queue.release):
                with pytest.raises(TypeError):
                    settle(JOB, [delivery])

    @pytest.mark.parametrize("invented", ["*", "1.>", "7", None, 1.5])
    def test_only_whole_numbers_become_part_of_a_name(self, invented: object) -> None:
        names = Names("d")
        job = JobRef(invented, 1)  # type: ignore[arg-type]
        with pytest.raises((ValueError, TypeError)):
            names.run(job)
        with pytest.raises((ValueError, TypeError)):
            names.consumer(job, 1)
        with pytest.raises((ValueError, TypeError)):
            names.acknowledgement("c", invented)  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["", "a.b", "a>", "*", "a b", "A", "1a", "a\n"])
    def test_a_deployment_name_that_means_something_in_a_subject_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="cannot be part of a subject"):
            Names(name)

    def test_a_sequence_keeps_the_incarnation_it_belongs_to(self) -> None:
        largest = (2**20 - 1, 2**43 - 1)
        assert unpack(pack(*largest)) == largest
        assert pack(*largest) < 2**63
        first = datetime(2026, 1, 1, tzinfo=UTC)
        assert incarnation_of(first) != incarnation_of(first + timedelta(microseconds=1))
