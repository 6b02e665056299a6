"""``headcount up``."""

import os
import sys

import click
from django.conf import settings
from django.db import connections

from headcount.checks.deployment import check_deployment
from headcount.cli import setup  # noqa: F401 - sets Django up
from headcount.cli.check import print_findings
from headcount.cli.supervisor import Child, Supervisor
from headcount.conf import Settings
from headcount.errors import BadInputError, ConfigurationError
from headcount.logs import configure_logs
from headcount.wiring import EXTRA

_QUEUES_WITH_PROCESSES = ("dispatch", "internal", "push")
_QUEUES_OF_TICKS = ("health", "after")
_KILL_WEB_WORKERS_AFTER_SECONDS = 10


@click.command()
@click.option("--distributed", is_flag=True, help="Web, Celery workers and beat on this host, as the settings say.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port.")
@click.option("--web-workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Web processes.")
@click.option(
    "--web-threads", type=click.IntRange(1, 256), default=16, show_default=True, help="Threads of each web process."
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=2,
    show_default=True,
    help="Processes for each of dispatch, internal and push jobs.",
)
@click.option("--no-check", is_flag=True, help="Start even if 'headcount check' finds something wrong.")
def up(
    host: str, port: int, web_workers: int, web_threads: int, processes: int, *, distributed: bool, no_check: bool
) -> None:
    """Run every process of a distributed deployment on this host, and keep them running.

    Web server, a Celery worker for each class of work, and the clock of the health checks. A process that ends is
    started again. SIGTERM or Ctrl-C stops them all in good order.
    """
    if not distributed:
        raise BadInputError("'headcount up' needs --distributed; for everything in one process: headcount serve")
    configure_logs(as_json=settings.HEADCOUNT.log_json, level=settings.HEADCOUNT.log_level)
    if not no_check:
        _refuse_what_is_wrong(settings.HEADCOUNT)
    web = web_child(host, port, web_workers, web_threads)
    click.echo(f"Headcount serves http://{host}:{port}; stop with Ctrl-C")
    Supervisor([web, *celery_children(settings.HEADCOUNT, processes)]).run()


def web_child(host: str, port: int, workers: int, threads: int) -> Child:
    """Return the web server's process: the master, whose workers answer requests on threads."""
    address = ("--host", host, "--port", str(port))
    size = ("--workers", str(workers), "--blocking-threads", str(threads))
    care = ("--respawn-failed-workers", "--workers-kill-timeout", str(_KILL_WEB_WORKERS_AFTER_SECONDS))
    application = "headcount.site.web:application"
    return Child("web", (*_python("granian"), "--interface", "wsgi", *address, *size, *care, "--no-ws", application))


def celery_children(settings: Settings, processes: int) -> list[Child]:
    """Return a worker for each class of work, and beat."""
    workers = [_worker(settings, name, "--concurrency", str(processes)) for name in _QUEUES_WITH_PROCESSES]
    ticks = [_worker(settings, name, "--pool", "solo") for name in _QUEUES_OF_TICKS]
    # Beat with its usual scheduler keeps a file; there is nothing to keep for ticks that come every minute.
    beat = Child("beat", (*_celery(), "beat", "--scheduler", "celery.beat:Scheduler", "--pidfile="))
    return [*workers, *ticks, beat]


def _worker(settings: Settings, work_class: str, *options: str) -> Child:
    queue = f"{settings.deployment_name}.{work_class}"
    name = ("--hostname", f"{settings.deployment_name}-{work_class}-{os.getpid()}@%h")
    quiet = ("--without-gossip", "--without-mingle")
    return Child(f"celery {work_class}", (*_celery(), "worker", "--queues", queue, *name, *quiet, *options))


def _celery() -> tuple[str, ...]:
    return (*_python("celery"), "--quiet", "--app", "headcount.site.celery")


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


def _refuse_what_is_wrong(settings: Settings) -> None:
    if settings.embedded_dispatch:
        raise ConfigurationError(
            f"HEADCOUNT_BROKER_URL is not set: 'headcount up' needs a broker and {EXTRA}; without one: headcount serve"
        )
    problems = [finding for finding in check_deployment(settings) if not finding.is_ok]
    connections.close_all()
    if problems:
        print_findings(problems)
        raise ConfigurationError("the deployment is not ready; put this right, or start with --no-check")
