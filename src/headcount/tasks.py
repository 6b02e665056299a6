"""The Celery tasks: thin, each hands on to what does the work."""

from functools import cache, partial

from celery import Task, shared_task
from celery.exceptions import Reject

from headcount.domain.records import JobRef
from headcount.engines.celery.application import CHECK_HEALTH, RELAY_OUTBOX, RUN_JOB
from headcount.engines.celery.dispatcher import CeleryDispatcher
from headcount.engines.celery.execution import Execution
from headcount.engines.celery.rows import Message
from headcount.engines.celery.stopping import STOP_SIGN
from headcount.errors import ConfigurationError, EngineUnavailableError
from headcount.flow import relay
from headcount.flow.run_job import abandon_job
from headcount.flow.run_job import run_job as run_job_of
from headcount.health.loop import jobs_health_check
from headcount.wiring import deployment


@shared_task(name=RUN_JOB, bind=True)
def run_job(task: Task, job_id: int, run: int, generation: int) -> None:
    """Take a run on from where it stands.

    Raises:
        Reject: neither the database nor the broker answers; the broker gives the message to another worker.
    """
    message = Message(JobRef(job_id, run), generation, task.request.delivery_info["routing_key"])
    try:
        _execution().carry_out(message)
    except EngineUnavailableError as error:
        raise Reject(str(error), requeue=True) from error


@shared_task(name=CHECK_HEALTH)
def check_health() -> None:
    """Bring level what crashes left behind."""
    jobs_health_check(deployment())


@shared_task(name=RELAY_OUTBOX)
def relay_outbox() -> None:
    """Do what is left to do because a transaction committed."""
    relay.relay(deployment())


@cache
def _execution() -> Execution:
    here = deployment()
    if not isinstance(here.dispatcher, CeleryDispatcher):
        raise ConfigurationError("HEADCOUNT_BROKER_URL names no broker: 'headcount serve' runs the jobs itself")
    return Execution(
        here.dispatcher,
        here.settings,
        here.clock,
        run=partial(run_job_of, here),
        abandon=partial(abandon_job, here),
        stop_sign=STOP_SIGN,
    )
