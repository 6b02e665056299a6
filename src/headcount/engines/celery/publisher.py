"""Publishing: puts a run's message into the broker, confirmed, or says that the broker does not answer."""

from datetime import timedelta

from celery import Celery

from headcount.engines.celery.application import RUN_JOB
from headcount.engines.celery.broker import errors_of, open_connection, reach, reason_of
from headcount.engines.celery.rows import Message
from headcount.errors import EngineUnavailableError

_CONFIRM_SECONDS = 5
_REACH_SECONDS = 4
"""For all servers of a URL together, each with two addresses: less than a health check waits for a witness."""


class Publisher:
    """Sends messages, each over a connection of its own.

    A job is dispatched once, so a few milliseconds do not count; in return no connection goes stale between two jobs,
    none is shared by threads or inherited by forked processes, and the queue is declared anew each time, so that a
    broker that was set up again gets it back.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    @property
    def broker(self) -> str:
        """The broker's address, without its password."""
        return str(self._app.connection_for_write().as_uri())

    def publish(self, message: Message, task_id: str, delay: timedelta = timedelta(0)) -> None:
        """Send a message that a worker is to take up after ``delay``; the broker has it safely on return.

        Raises:
            EngineUnavailableError: the broker does not answer, or did not confirm.
        """
        try:
            self._send(message, task_id, delay)
        except errors_of(self._app.connection_for_write()) as error:
            raise EngineUnavailableError(f"the broker does not take the dispatch: {reason_of(error)}") from error

    def reach(self) -> None:
        """Return where the broker answers.

        Raises:
            EngineUnavailableError: it does not.
        """
        connection = self._app.connection_for_write()
        connection.connect_timeout = _REACH_SECONDS / (2 * max(len(connection.alt), 1) + 1)
        reach(connection)

    def _send(self, message: Message, task_id: str, delay: timedelta) -> None:
        with self._app.connection_for_write() as connection:
            open_connection(connection)
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
