"""Each dispatcher against the contract, with real worker processes that are really killed."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from kombu import Connection

from headcount.clock import system_clock
from headcount.conf import Settings
from headcount.domain.records import JobRef
from headcount.domain.states import DispatchMode
from headcount.engines.celery.application import CLASSES, queue_name
from headcount.engines.celery.dispatcher import CeleryDispatcher, build_dispatcher
from headcount.engines.celery.rows import Message
from headcount.engines.database.dispatcher import DatabaseDispatcher
from headcount.errors import EngineUnavailableError
from headcount.ports.dispatcher import Dispatcher, DispatchTestimony
from headcount.testing.clock import FrozenClock
from headcount.testing.contracts.dispatcher import ATTEMPTS, DispatcherContract
from headcount.testing.contracts.dispatcher_script import Behaviour, ScriptedWork
from headcount.testing.servers import free_port
from headcount.testing.waiting import wait_until
from tests.servers import rabbitmq_url

__all__ = ["rabbitmq_url"]

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
LEASE = timedelta(seconds=1)


def database_url() -> str:
    """The URL of the database of this test run, for other processes."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{found['NAME']}"
    credentials = f"{found['USER']}:{found['PASSWORD']}" if found["PASSWORD"] else found["USER"]
    return f"postgresql://{credentials}@{found['HOST']}:{found['PORT']}/{found['NAME']}"


@dataclass
class ProcessHarness:
    """A dispatcher whose worker is a process of its own."""

    dispatcher: Dispatcher
    work: ScriptedWork
    command: list[str]
    settings: Settings
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self) -> None:
        variables = {
            "DJANGO_SETTINGS_MODULE": "headcount.site.settings",
            "HEADCOUNT_DATA_DIR": str(self.work.directory),
            "HEADCOUNT_DATABASE_URL": database_url(),
            "HEADCOUNT_BROKER_URL": self.settings.broker_url,
            "HEADCOUNT_DEPLOYMENT_NAME": self.settings.deployment_name,
            "HEADCOUNT_DISPATCH_LEASE": f"PT{LEASE.total_seconds():g}S",
            "HEADCOUNT_DISPATCH_ATTEMPTS": str(ATTEMPTS),
            "SCRIPTED_WORK": str(self.work.directory),
        }
        with (self.work.directory / "worker.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    self.command, env={**os.environ, **variables}, stdout=log, stderr=log, start_new_session=True
                )
            )

    def stop_worker(self) -> None:
        self.processes[-1].send_signal(signal.SIGTERM)
        assert self.processes[-1].wait(30) == 0, self.log()

    def kill_worker(self) -> None:
        os.killpg(self.processes[-1].pid, signal.SIGKILL)
        self.processes[-1].wait(30)

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def log(self) -> str:
        return (self.work.directory / "worker.log").read_text()


def settings_for(work: ScriptedWork, **changes: Any) -> Settings:
    return Settings(
        data_dir=work.directory,
        dispatch_lease=LEASE,
        dispatch_attempts=ATTEMPTS,
        deployment_name=f"t{secrets.token_hex(6)}",
        **changes,
    )


@pytest.fixture
def work(tmp_path: Path) -> ScriptedWork:
    return ScriptedWork(tmp_path)


@pytest.fixture
def celery_settings(work: ScriptedWork, rabbitmq_url: str) -> Iterator[Settings]:
    """A deployment of its own on the broker; its queues are gone afterwards."""
    settings = settings_for(work, broker_url=rabbitmq_url)
    yield settings
    forget_queues(settings)


def forget_queues(settings: Settings) -> None:
    """Take everything of a deployment out of a RabbitMQ that others use too."""
    with Connection(settings.broker_url) as broker:
        for work_class in CLASSES:
            broker.default_channel.queue_delete(queue_name(settings, work_class))
        broker.default_channel.exchange_delete(settings.deployment_name)


@pytest.fixture
def celery_harness(work: ScriptedWork, celery_settings: Settings) -> Iterator[ProcessHarness]:
    with celery_harness_of(work, celery_settings) as harness:
        yield harness


@contextmanager
def celery_harness_of(work: ScriptedWork, settings: Settings) -> Iterator[ProcessHarness]:
    """A dispatcher on Celery, whatever its broker, whose workers have ended in the end."""
    dispatcher = build_dispatcher(settings, system_clock, lambda _: DispatchMode.ASYNC_API)
    queue = queue_name(settings, "dispatch")
    application = ["-A", "tests.contracts.dispatcher_worker"]
    options = ["-Q", queue, "-c", "2", "--without-gossip", "--without-mingle", "-l", "INFO"]
    command = [sys.executable, "-m", "celery", *application, "worker", *options]
    harness = ProcessHarness(dispatcher, work, command, settings)
    try:
        yield harness
    finally:
        harness.end()


class TestDatabaseDispatcher(DispatcherContract):
    @pytest.fixture
    def harness(self, work: ScriptedWork) -> Iterator[ProcessHarness]:
        command = [sys.executable, "-m", "tests.contracts.dispatcher_worker"]
        harness = ProcessHarness(DatabaseDispatcher(system_clock), work, command, settings_for(work))
        yield harness
        harness.end()


class TestCeleryDispatcher(DispatcherContract):
    @pytest.fixture
    def harness(self, celery_harness: ProcessHarness) -> ProcessHarness:
        return celery_harness


class TestCeleryAlone:
    """What only a dispatcher with a broker has to get right."""

    def test_duplicated_messages_do_not_run_twice_at_once(self, celery_harness: ProcessHarness) -> None:
        job = JobRef(9001, 1)
        dispatcher = celery_of(celery_harness)
        celery_harness.work.write(job, Behaviour.WAIT)
        dispatcher.enqueue(job)
        message = Message(job, 0, queue_name(celery_harness.settings, "dispatch"))
        for _ in range(5):
            dispatcher.send_again(message, timedelta(0))
        celery_harness.start_worker()
        wait_until(lambda: celery_harness.work.begun(job) > 0, "the run is begun")
        wait_until(lambda: celery_harness.log().count("succeeded in") >= 5, "the other messages were looked at")
        assert celery_harness.work.begun(job) == 1
        celery_harness.work.release(job)
        wait_until(lambda: said(dispatcher, job) == "SUCCESS", "it ended")
        wait_until(lambda: celery_harness.log().count("out_of_date") >= 5, "the others were dropped")
        assert celery_harness.work.begun(job) == 1

    def test_a_broker_that_is_away_is_named_within_seconds(self, work: ScriptedWork) -> None:
        settings = settings_for(work, broker_url=f"amqp://guest:guest@127.0.0.1:{free_port()}//")
        dispatcher = build_dispatcher(settings, system_clock, lambda _: DispatchMode.ASYNC_API)
        job = JobRef(9002, 1)
        with pytest.raises(EngineUnavailableError, match="broker"):
            dispatcher.enqueue(job)
        assert dispatcher.testimony(job) == DispatchTestimony("PENDING", 0)

    @pytest.mark.parametrize("scheme", ["amqp", "redis"])
    def test_a_broker_that_is_not_there_is_not_waited_for(self, work: ScriptedWork, scheme: str) -> None:
        port = free_port()
        settings = settings_for(work, broker_url=f"{scheme}://user:secret@127.0.0.1:{port}/0")
        dispatcher = build_dispatcher(settings, system_clock, lambda _: DispatchMode.ASYNC_API)
        begun = time.monotonic()
        with pytest.raises(EngineUnavailableError, match=r"does not answer: .*refused"):
            dispatcher.reach_broker()
        assert time.monotonic() - begun < 1, "the client's own patience is two seconds"
        assert str(port) in dispatcher.broker
        assert "secret" not in dispatcher.broker

    def test_a_broker_that_lets_nobody_in_is_away(self, work: ScriptedWork, rabbitmq_url: str) -> None:
        address = urlsplit(rabbitmq_url)
        stranger = address._replace(netloc=f"nobody:wrong@{address.hostname}:{address.port or 5672}").geturl()
        settings = settings_for(work, broker_url=stranger)
        with pytest.raises(EngineUnavailableError, match="ACCESS_REFUSED"):
            build_dispatcher(settings, system_clock, lambda _: DispatchMode.ASYNC_API).reach_broker()

    def test_what_the_broker_did_not_take_is_sent_with_the_next_enqueue(self, celery_harness: ProcessHarness) -> None:
        job = JobRef(9003, 1)
        celery_harness.work.write(job, Behaviour.SUCCEED)
        away = settings_for(celery_harness.work, broker_url=f"amqp://guest:guest@127.0.0.1:{free_port()}//")
        with pytest.raises(EngineUnavailableError):
            build_dispatcher(away, system_clock, lambda _: DispatchMode.ASYNC_API).enqueue(job)
        celery_harness.dispatcher.enqueue(job)
        celery_harness.start_worker()
        wait_until(lambda: said(celery_harness.dispatcher, job) == "SUCCESS", "it ran")

    def test_a_message_the_broker_lost_is_sent_anew(self, celery_harness: ProcessHarness) -> None:
        job, settings = JobRef(9004, 1), celery_harness.settings
        celery_harness.work.write(job, Behaviour.SUCCEED)
        celery_harness.dispatcher.enqueue(job)
        assert purge(settings) == 1
        celery_harness.dispatcher.resume(job)
        assert purge(settings) == 0, "a message that is not overdue is not sent again"
        later = FrozenClock(system_clock() + 4 * LEASE)
        build_dispatcher(settings, later, lambda _: DispatchMode.ASYNC_API).resume(job)
        celery_harness.start_worker()
        wait_until(lambda: said(celery_harness.dispatcher, job) == "SUCCESS", "it ran")

    def test_a_queue_that_was_deleted_is_declared_again(self, celery_harness: ProcessHarness) -> None:
        settings = celery_harness.settings
        celery_harness.dispatcher.enqueue(JobRef(9005, 1))
        with Connection(settings.broker_url) as broker:
            broker.default_channel.queue_delete(queue_name(settings, "dispatch"))
        celery_harness.dispatcher.enqueue(JobRef(9006, 1))
        assert purge(settings) == 1

    @pytest.mark.parametrize("mode", list(DispatchMode))
    def test_each_dispatch_mode_travels_in_a_queue_of_its_own(
        self, celery_settings: Settings, mode: DispatchMode
    ) -> None:
        build_dispatcher(celery_settings, system_clock, lambda _: mode).enqueue(JobRef(9007, 1))
        expected = {
            DispatchMode.ASYNC_API: "dispatch",
            DispatchMode.INTERNAL: "internal",
            DispatchMode.SYNC_API: "push",
        }
        assert purge(celery_settings, expected[mode]) == 1


def celery_of(harness: ProcessHarness) -> CeleryDispatcher:
    assert isinstance(harness.dispatcher, CeleryDispatcher)
    return harness.dispatcher


def said(dispatcher: Dispatcher, job: JobRef) -> str | None:
    testimony = dispatcher.testimony(job)
    return testimony.state if testimony else None


def purge(settings: Settings, work_class: str = "dispatch") -> int:
    """Lose every message of a queue; returns how many there were."""
    with Connection(settings.broker_url) as broker:
        purged = broker.default_channel.queue_purge(queue_name(settings, work_class))
        return int(purged or 0)
