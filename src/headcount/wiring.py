"""From settings to engines: the one place that names them."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings

from headcount.clock import Clock, system_clock
from headcount.conf import Settings
from headcount.domain.records import JobRef
from headcount.domain.states import DispatchMode
from headcount.engines.database.dispatcher import DatabaseDispatcher, Runner
from headcount.engines.database.queue import DatabaseTaskQueue
from headcount.engines.database.state import DatabaseStateManager
from headcount.engines.redis.keys import identity_of
from headcount.errors import ConfigurationError
from headcount.flow.run_job import abandon_job, run_job
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import Checkpoint, Dispatcher
from headcount.ports.job_kind import JobKind
from headcount.ports.state_manager import AsyncJobStateManager
from headcount.ports.task_queue import TaskQueue
from headcount.store import jobs

EXTRA = "headcount[distributed]"
"""What brings the libraries of the engines that run on servers."""

_QUEUES = dict.fromkeys(("nats", "tls"), "headcount.engines.nats.queue:NatsTaskQueue")
_STATE_MANAGERS = dict.fromkeys(("redis", "rediss", "unix"), "headcount.engines.redis.state:RedisStateManager")
_DISPATCHERS = dict.fromkeys(
    ("amqp", "amqps", "redis", "rediss"), "headcount.engines.celery.dispatcher:build_dispatcher"
)
"""Engines on servers, by the scheme of their URL: loaded when they are chosen, their libraries need not be there."""


@cache
def deployment() -> Deployment:
    """Return this process's deployment, as the Django settings describe it."""
    return build(django_settings.HEADCOUNT)


def build(settings: Settings, clock: Clock = system_clock) -> Deployment:
    """Put a deployment together from settings.

    Raises:
        ConfigurationError: a URL names an engine that does not exist, or whose libraries are not installed.
    """
    return Deployment(
        queue=_queue(settings),
        state=_state_manager(settings),
        dispatcher=_dispatcher(settings, clock),
        kinds=_kinds(),
        clock=clock,
        settings=settings,
    )


def build_runner(deployment: Deployment, threads: int = 4) -> Runner:
    """Return the runner of the embedded dispatcher, not yet started.

    Raises:
        ConfigurationError: the deployment dispatches elsewhere.
    """
    if not isinstance(deployment.dispatcher, DatabaseDispatcher):
        raise ConfigurationError("HEADCOUNT_BROKER_URL names a broker: its workers run the jobs, not this process")

    def run(job: JobRef, checkpoint: Checkpoint) -> None:
        run_job(deployment, job, checkpoint)

    def abandon(job: JobRef, reason: str) -> None:
        abandon_job(deployment, job, reason)

    return Runner(
        deployment.dispatcher,
        run=run,
        abandon=abandon,
        clock=deployment.clock,
        lease=deployment.settings.dispatch_lease,
        max_attempts=deployment.settings.dispatch_attempts,
        threads=threads,
    )


def load(place: str, needed_by: str) -> Callable[..., Any]:
    """Return what ``module:name`` names.

    Raises:
        ConfigurationError: a library it is built on is not installed; the message says how to install it.
    """
    module, _, name = place.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in {"", "headcount"}:
            raise
        raise ConfigurationError(f"{needed_by} needs {library!r}: run pip install '{EXTRA}'") from error
    return found


def _queue(settings: Settings) -> TaskQueue:
    scheme = urlsplit(settings.queue_url).scheme
    if scheme == "database":
        return DatabaseTaskQueue()
    make = _on_a_server("HEADCOUNT_QUEUE_URL", scheme, _QUEUES, "database")
    queue: TaskQueue = make(
        settings.queue_url.split(","), deployment_name=settings.deployment_name, lease=settings.ack_wait
    )
    return queue


def _state_manager(settings: Settings) -> AsyncJobStateManager:
    scheme = urlsplit(settings.state_url).scheme
    if scheme == "database":
        return DatabaseStateManager()
    make = _on_a_server("HEADCOUNT_STATE_URL", scheme, _STATE_MANAGERS, "database")
    state: AsyncJobStateManager = make(
        settings.state_url,
        deployment=settings.deployment_name,
        identity=identity_of(settings.effective_secret_key),
    )
    return state


def _dispatcher(settings: Settings, clock: Clock) -> Dispatcher:
    if settings.embedded_dispatch:
        return DatabaseDispatcher(clock)
    scheme = urlsplit(settings.broker_url).scheme
    build_dispatcher = _on_a_server("HEADCOUNT_BROKER_URL", scheme, _DISPATCHERS, "embedded")
    dispatcher: Dispatcher = build_dispatcher(settings, clock, _dispatch_mode)
    return dispatcher


def _on_a_server(variable: str, scheme: str, places: Mapping[str, str], built_in: str) -> Callable[..., Any]:
    if scheme not in places:
        known = ", ".join(f"{name}://" for name in (built_in, *places))
        raise ConfigurationError(f"{variable}: no engine is called {scheme!r}; there are {known}")
    return load(places[scheme], f"{variable}={scheme}://…")


def _dispatch_mode(job: JobRef) -> DispatchMode:
    return jobs.get(job.job_id).dispatch_mode


def _kinds() -> dict[str, JobKind]:
    kinds = [_load(path) for path in django_settings.HEADCOUNT_JOB_KINDS]
    return {kind.name: kind for kind in kinds}


def _load(path: str) -> JobKind:
    module, _, name = path.rpartition(".")
    kind = getattr(import_module(module), name)()
    if not isinstance(kind, JobKind):
        raise ConfigurationError(f"HEADCOUNT_JOB_KINDS: {path} is not a JobKind")
    return kind
