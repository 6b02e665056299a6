"""The Celery application: its queues, and how it treats messages."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu import Exchange, Queue

from headcount.conf import Settings
from headcount.domain.states import DispatchMode
from headcount.errors import ConfigurationError

RUN_JOB = "headcount.run_job"
CHECK_HEALTH = "headcount.check_health"
RELAY_OUTBOX = "headcount.relay_outbox"

DISPATCH, INTERNAL, PUSH, HEALTH, AFTER = "dispatch", "internal", "push", "health", "after"
CLASSES = (DISPATCH, INTERNAL, PUSH, HEALTH, AFTER)
"""Each class of work has a queue of its own, so that none starves another: collecting and publishing, work that the
dispatcher does itself, work that it pushes to services, health checks, and what is left to do after a job's end."""

_CLASS_OF_MODE = {
    DispatchMode.ASYNC_API: DISPATCH,
    DispatchMode.INTERNAL: INTERNAL,
    DispatchMode.SYNC_API: PUSH,
}
_CONNECT_SECONDS = 4
_ANSWER_SECONDS = 10
_RELAY_SECONDS = 10.0


def queue_name(settings: Settings, work_class: str) -> str:
    """Return the broker's name for the queue of a class; deployments with other names may share the broker."""
    return f"{settings.deployment_name}.{work_class}"


def queue_of_mode(settings: Settings, mode: DispatchMode) -> str:
    """Return the queue that runs of a dispatch mode travel in."""
    return queue_name(settings, _CLASS_OF_MODE[mode])


def celery_app(settings: Settings, *, fixups: Sequence[str] | None = None, is_current: bool = True) -> Celery:
    """Return the Celery application of a deployment.

    Raises:
        ConfigurationError: the deployment has no broker.
    """
    if settings.embedded_dispatch:
        raise ConfigurationError(
            "Celery needs a broker: set HEADCOUNT_BROKER_URL to amqp://user:password@host:5672// "
            "(without one, 'headcount serve' runs the jobs itself)"
        )
    app = Celery(settings.deployment_name, fixups=fixups, set_as_current=is_current)
    app.conf.update(_configuration(settings))
    return app


def _configuration(settings: Settings) -> Mapping[str, Any]:
    return {
        "broker_url": settings.broker_url,
        "broker_connection_timeout": _CONNECT_SECONDS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": _transport_options(settings),
        "imports": ["headcount.tasks"],
        "enable_utc": True,
        "timezone": "UTC",
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_queues": [_queue(settings, work_class) for work_class in CLASSES],
        "task_default_queue": queue_name(settings, DISPATCH),
        "task_create_missing_queues": False,
        # A message is settled when its work is done, so that a worker that dies gives it back.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "task_track_started": True,
        "task_publish_retry": False,
        # A worker that is busy holds no message that another could begin.
        "worker_prefetch_multiplier": 1,
        # The table keeps a run from being done twice at once; ending it with the connection would lose its step.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # A control queue is locked by its worker; one that was killed would keep its successor from starting.
        "worker_enable_remote_control": False,
        "beat_schedule": _schedule(settings),
    }


def _queue(settings: Settings, work_class: str) -> Queue:
    name = queue_name(settings, work_class)
    return Queue(name, Exchange(settings.deployment_name, type="direct", durable=True), routing_key=name, durable=True)


def _transport_options(settings: Settings) -> dict[str, Any]:
    if urlsplit(settings.broker_url).scheme.startswith("amqp"):
        return {"confirm_publish": True}
    return {
        "global_keyprefix": f"{settings.deployment_name}.celery.",
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _ANSWER_SECONDS,
    }


def _schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """A tick that nobody took up before the next one is worth nothing: it expires."""
    check_every = settings.health_interval.total_seconds()
    relay_every = min(check_every, _RELAY_SECONDS)
    return {
        "health": _tick(CHECK_HEALTH, check_every, queue_name(settings, HEALTH)),
        "after": _tick(RELAY_OUTBOX, relay_every, queue_name(settings, AFTER)),
    }


def _tick(task: str, seconds: float, queue: str) -> dict[str, Any]:
    """Beat keeps one connection for all ticks, and only a publication that is retried replaces one that was lost."""
    options = {"queue": queue, "expires": seconds, "retry": True, "retry_policy": {"max_retries": 1}}
    return {"task": task, "schedule": seconds, "options": options}
