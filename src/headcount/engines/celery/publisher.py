"""Publishing: puts a run's message into the broker, confirmed, or says that the broker does not answer."""

from datetime import timedelta
from typing import Any

from amqp.exceptions import AMQPError, MessageNacked
from celery import Celery
from kombu.exceptions import KombuError

from headcount.engines.celery.application import RUN_JOB
from headcount.engines.celery.rows import Message
from headcount.errors import EngineUnavailableError

_CONFIRM_SECONDS = 5


class Publisher:
    """Sends messages, each over a connection of its own.

    A job is dispatched once, so a few milliseconds do not count; in return no connection goes stale between two jobs,
    none is shared by threads or inherited by forked processes, and the queue is declared anew each time, so that a
    broker that was set up again gets it back.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def publish(self, message: Message, task_id: str, delay: timedelta = timedelta(0)) -> None:
        """Send a message that a worker is to take up after ``delay``; the broker has it safely on return.

        Raises:
            EngineUnavailableError: the broker does not answer, or did not confirm.
        """
        try:
            self._send(message, task_id, delay)
        except (*self._connection_errors(), KombuError, AMQPError, MessageNacked, OSError) as error:
            reason = str(error) or type(error).__name__
            raise EngineUnavailableError(f"the broker does not take the dispatch: {reason}") from error

    def _send(self, message: Message, task_id: str, delay: timedelta) -> None:
        with self._app.connection_for_write() as connection:
            # Left to itself the client tries for seconds to reach a broker that refuses; the caller knows better.
            connection.connect()
            self._app.send_task(
                RUN_JOB,
                args=[message.job.job_id, message.job.run, message.generation],
                task_id=task_id,
                queue=message.queue,
                countdown=delay.total_seconds() or None,
                connection=connection,
                ignore_result=True,
                # A message that no queue takes is an error instead of a silence.
                mandatory=True,
                timeout=_CONFIRM_SECONDS,
                confirm_timeout=_CONFIRM_SECONDS,
            )

    def _connection_errors(self) -> tuple[Any, ...]:
        connection = self._app.connection_for_write()
        return (*connection.connection_errors, *connection.channel_errors)
