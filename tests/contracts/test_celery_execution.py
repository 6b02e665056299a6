"""What a Celery worker does with a message when a run takes long, or when nothing answers."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import OperationalError

from headcount.clock import system_clock
from headcount.conf import Settings
from headcount.domain.records import JobRef
from headcount.domain.states import DispatchMode
from headcount.engines.celery import rows
from headcount.engines.celery.application import HEALTH, celery_app, queue_name
from headcount.engines.celery.dispatcher import build_dispatcher
from headcount.engines.celery.execution import Execution
from headcount.engines.celery.rows import Message
from headcount.engines.celery.stopping import StopSign
from headcount.errors import ConfigurationError, EngineUnavailableError
from headcount.ports.dispatcher import DispatchTestimony
from headcount.testing.contracts.dispatcher_script import Behaviour, ScriptedWork
from headcount.testing.servers import free_port
from tests.contracts.test_dispatcher import forget_queues, purge, settings_for
from tests.servers import rabbitmq_url

__all__ = ["rabbitmq_url"]

pytestmark = pytest.mark.django_db(transaction=True)
JOB = JobRef(1, 1)


@pytest.fixture
def work(tmp_path: Path) -> ScriptedWork:
    return ScriptedWork(tmp_path)


@pytest.fixture
def settings(work: ScriptedWork, rabbitmq_url: str) -> Iterator[Settings]:
    settings = settings_for(work, broker_url=rabbitmq_url)
    yield settings
    forget_queues(settings)


def execution(settings: Settings, work: ScriptedWork, turn: timedelta = timedelta(minutes=1)) -> Execution:
    dispatcher = build_dispatcher(settings, system_clock, lambda _: DispatchMode.ASYNC_API)
    return Execution(
        dispatcher, settings, system_clock, run=work.run, abandon=work.abandon, stop_sign=StopSign(), turn=turn
    )


def enqueued(settings: Settings) -> Message:
    """A run whose message a worker has in its hands."""
    build_dispatcher(settings, system_clock, lambda _: DispatchMode.ASYNC_API).enqueue(JOB)
    assert purge(settings) == 1
    return Message(JOB, 0, queue_name(settings, "dispatch"))


def test_a_run_whose_turn_is_over_queues_up_again(settings: Settings, work: ScriptedWork) -> None:
    work.write(JOB, Behaviour.WAIT)
    message = enqueued(settings)
    execution(settings, work, turn=timedelta(0)).carry_out(message)
    assert work.ended(JOB) == 1
    assert rows.testimony(JOB) == DispatchTestimony("PENDING", 0)
    assert purge(settings) == 1


def test_a_turn_that_is_over_is_no_failed_attempt_however_often(settings: Settings, work: ScriptedWork) -> None:
    work.write(JOB, *[Behaviour.WAIT] * (settings.dispatch_attempts + 2), Behaviour.SUCCEED)
    message = enqueued(settings)
    for _ in range(settings.dispatch_attempts + 3):
        execution(settings, work, turn=timedelta(0)).carry_out(message)
    assert rows.testimony(JOB) == DispatchTestimony("SUCCESS", 1)
    assert not work.abandoned(JOB)


def test_a_message_of_an_older_generation_is_void(settings: Settings, work: ScriptedWork) -> None:
    work.write(JOB, Behaviour.FAIL_FOR_GOOD, Behaviour.SUCCEED)
    message = enqueued(settings)
    execution(settings, work).carry_out(message)
    build_dispatcher(settings, system_clock, lambda _: DispatchMode.ASYNC_API).resume(JOB)
    execution(settings, work).carry_out(message)
    assert work.begun(JOB) == 1
    execution(settings, work).carry_out(Message(JOB, 1, message.queue))
    assert work.begun(JOB) == 2


def test_without_the_database_the_message_is_sent_again(
    settings: Settings, work: ScriptedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = enqueued(settings)
    monkeypatch.setattr(rows, "write_transaction", no_database)
    execution(settings, work).carry_out(message)
    assert purge(settings) == 1
    assert work.begun(JOB) == 0


def test_without_database_and_broker_the_message_is_not_settled(
    work: ScriptedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(work, broker_url=f"amqp://guest:guest@127.0.0.1:{free_port()}//")
    monkeypatch.setattr(rows, "write_transaction", no_database)
    with pytest.raises(EngineUnavailableError, match="broker"):
        execution(settings, work).carry_out(Message(JOB, 0, "anything"))


def no_database() -> None:
    raise OperationalError("gone")


def test_ticks_that_nobody_took_up_expire_before_the_next(settings: Settings) -> None:
    schedule = celery_app(settings).conf.beat_schedule
    assert schedule["health"]["options"]["queue"] == queue_name(settings, HEALTH)
    assert all(tick["options"]["expires"] <= tick["schedule"] for tick in schedule.values())


def test_messages_are_settled_after_the_work_and_carry_nothing_but_json(settings: Settings) -> None:
    conf = celery_app(settings).conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (True, True, 1)
    assert (conf.task_serializer, conf.accept_content) == ("json", ["json"])
    assert all(queue.durable for queue in conf.task_queues)


def test_without_a_broker_there_is_no_celery(work: ScriptedWork) -> None:
    with pytest.raises(ConfigurationError, match="HEADCOUNT_BROKER_URL"):
        celery_app(settings_for(work))
