"""Worker processes for the dispatcher contract: they do what a test wrote down, in place of real jobs.

``python -m tests.contracts.dispatcher_worker`` runs the database engine's runner;
``celery -A tests.contracts.dispatcher_worker worker`` runs Celery's.
"""

import os
import signal
from pathlib import Path
from typing import Any

import django

django.setup()

from celery import Celery  # noqa: E402
from celery.exceptions import Reject  # noqa: E402
from celery.signals import worker_process_init, worker_shutting_down  # noqa: E402
from django.conf import settings  # noqa: E402

from headcount.clock import system_clock  # noqa: E402
from headcount.domain.records import JobRef  # noqa: E402
from headcount.domain.states import DispatchMode  # noqa: E402
from headcount.engines.celery.application import RUN_JOB, celery_app  # noqa: E402
from headcount.engines.celery.dispatcher import build_dispatcher  # noqa: E402
from headcount.engines.celery.execution import Execution  # noqa: E402
from headcount.engines.celery.rows import Message  # noqa: E402
from headcount.engines.celery.stopping import STOP_SIGN  # noqa: E402
from headcount.engines.database.dispatcher import DatabaseDispatcher, Runner  # noqa: E402
from headcount.errors import EngineUnavailableError  # noqa: E402
from headcount.parentage import die_with_parent  # noqa: E402
from headcount.testing.contracts.dispatcher_script import ScriptedWork  # noqa: E402

HEADCOUNT = settings.HEADCOUNT
WORK = ScriptedWork(Path(os.environ["SCRIPTED_WORK"]))


def _celery() -> Celery:
    made = celery_app(HEADCOUNT)
    made.conf.imports = []
    made.conf.beat_schedule = {}
    dispatcher = build_dispatcher(HEADCOUNT, system_clock, lambda _: DispatchMode.ASYNC_API)
    execution = Execution(dispatcher, HEADCOUNT, system_clock, run=WORK.run, abandon=WORK.abandon, stop_sign=STOP_SIGN)

    @made.task(name=RUN_JOB, bind=True)
    def run_job(task: Any, job_id: int, run: int, generation: int) -> None:
        try:
            execution.carry_out(Message(JobRef(job_id, run), generation, task.request.delivery_info["routing_key"]))
        except EngineUnavailableError as error:
            raise Reject(str(error), requeue=True) from error

    worker_shutting_down.connect(lambda **_: STOP_SIGN.put_up(), weak=False)
    worker_process_init.connect(lambda **_: die_with_parent(), weak=False)
    return made


def _database() -> None:
    runner = Runner(
        DatabaseDispatcher(system_clock),
        run=WORK.run,
        abandon=WORK.abandon,
        clock=system_clock,
        lease=HEADCOUNT.dispatch_lease,
        max_attempts=HEADCOUNT.dispatch_attempts,
    )
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    runner.start()
    signal.sigwait({signal.SIGTERM})
    runner.stop()


if __name__ == "__main__":
    _database()
elif not HEADCOUNT.embedded_dispatch:
    app = _celery()
