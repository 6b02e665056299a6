"""The Celery application: ``celery -A headcount.site.celery worker -Q headcount.dispatch``, and ``beat``."""

import os

from celery.signals import setup_logging, worker_process_init, worker_shutting_down
from django.conf import settings

from headcount.engines.celery.application import celery_app
from headcount.engines.celery.stopping import STOP_SIGN
from headcount.logs import configure_logs
from headcount.parentage import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "headcount.site.settings")

app = celery_app(settings.HEADCOUNT)


@setup_logging.connect
def _log_as_the_server_does(**_: object) -> None:
    configure_logs(as_json=settings.HEADCOUNT.log_json, level=settings.HEADCOUNT.log_level)


@worker_shutting_down.connect
def _stop_at_the_next_checkpoint(**_: object) -> None:
    STOP_SIGN.put_up()


@worker_process_init.connect
def _end_with_the_worker(**_: object) -> None:
    """A worker that is killed leaves its message to another; a process of it that went on would do the work twice."""
    die_with_parent()
