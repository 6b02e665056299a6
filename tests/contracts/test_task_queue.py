"""The task queue's contract on the database and on the oldest and newest NATS."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import count

import pytest
from django.db import OperationalError, connection, connections, transaction

from headcount.engines.database.queue import DatabaseTaskQueue
from headcount.engines.nats.queue import NatsTaskQueue
from headcount.ports.task_queue import TaskQueue
from headcount.testing.contracts.queue_holder import JOB, LONG, Holder, MakeQueue
from headcount.testing.contracts.task_queue import TaskQueueContract
from headcount.testing.servers import HOST, PrivateServer, free_port

_deployments = count()


@pytest.mark.django_db(transaction=True)
class TestDatabaseTaskQueue(TaskQueueContract):
    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        return lambda lease: DatabaseTaskQueue()

    @pytest.fixture
    def unreachable(self, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> TaskQueue:
        def refuse() -> None:
            raise OperationalError("connection refused")

        connection.close()
        monkeypatch.setattr(connection, "connect", refuse)
        return DatabaseTaskQueue()

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="other databases have no such plans")
    def test_a_claim_takes_no_more_than_its_limit_however_it_is_planned(self, holder: Holder) -> None:
        holder.queue.publish(JOB, range(10))
        with transaction.atomic(), connection.cursor() as cursor:
            for way in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "bitmapscan"):
                cursor.execute(f"SET LOCAL enable_{way} = off")
            assert [delivery.ordinal for delivery in holder.claim(4)] == [0, 1, 2, 3]

    def leave_thread(self) -> None:
        connections.close_all()


class TestNatsTaskQueue(TaskQueueContract):
    ends_leases_by_itself = True
    remembers_publications = True
    tells_released_from_held = False
    dates_what_it_holds = True
    tells_other_processes = True

    @pytest.fixture
    def make_queue(self, nats_server: PrivateServer) -> Iterator[MakeQueue]:
        """A deployment of its own on the shared server is an empty queue."""
        name = f"contract-{next(_deployments)}"
        with ExitStack() as stack:

            def make(lease: timedelta) -> TaskQueue:
                queue = NatsTaskQueue([nats_server.url], deployment_name=name, lease=lease)
                stack.callback(queue.close)
                return queue

            yield make

    @pytest.fixture
    def unreachable(self) -> Iterator[TaskQueue]:
        queue = NatsTaskQueue([f"nats://{HOST}:{free_port()}"], deployment_name="nowhere", lease=LONG)
        yield queue
        queue.close()
