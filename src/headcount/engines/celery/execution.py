"""Carrying out: what a Celery worker does with a message, so that a run is done once at a time and to its end."""

import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from headcount.clock import Clock
from headcount.conf import Settings
from headcount.domain.records import JobRef
from headcount.domain.retry import backoff
from headcount.engines.celery import rows
from headcount.engines.celery.dispatcher import CeleryDispatcher
from headcount.engines.celery.heartbeat import heartbeat
from headcount.engines.celery.rows import Busy, Held, Message
from headcount.engines.celery.stopping import StopSign
from headcount.errors import DispatchInterruptedError, EngineUnavailableError, PermanentError
from headcount.ports.dispatcher import Checkpoint

_log = structlog.get_logger(__name__)
_TURN = timedelta(minutes=5)
"""How long a run may go on before it queues up again.

RabbitMQ takes a message back that is not settled within its consumer timeout (30 minutes by default), and so does
Redis after its visibility timeout: no run holds one for so long. It also lets short runs pass long ones.
"""

_NEXT_LOOK = timedelta(seconds=5)
_SHORTEST_WAIT = timedelta(seconds=1)


class Execution:
    """Carries out messages.

    Args:
        dispatcher: whose messages they are.
        run: does the work of one run; safe to repeat; calls the checkpoint it is given between its steps.
        abandon: called with a run and the reason when its dispatch failed for good.
        stop_sign: raised when this worker is to end.
        turn: how long a run goes on before it queues up again.
    """

    def __init__(
        self,
        dispatcher: CeleryDispatcher,
        settings: Settings,
        clock: Clock,
        *,
        run: Callable[[JobRef, Checkpoint], None],
        abandon: Callable[[JobRef, str], None],
        stop_sign: StopSign,
        turn: timedelta = _TURN,
    ) -> None:
        self._dispatcher = dispatcher
        self._settings = settings
        self._clock = clock
        self._run = run
        self._abandon = abandon
        self._stop_sign = stop_sign
        self._turn = turn

    def carry_out(self, message: Message) -> None:
        """Do what a message asks, if it is still wanted and nobody else is at it; whatever is left is sent again.

        Raises:
            EngineUnavailableError: neither the database nor the broker takes it; the message must not be settled.
        """
        try:
            self._begin_and_do(message)
        except EngineUnavailableError as error:
            _log.warning("dispatch.postponed", job=message.job.job_id, reason=str(error))
            self._dispatcher.send_again(message, _NEXT_LOOK)

    def _begin_and_do(self, message: Message) -> None:
        match rows.begin(message, self._clock(), self._settings.dispatch_lease):
            case Held() as held:
                self._do(message, held)
            case Busy(until):
                self._dispatcher.send_again(message, max(until - self._clock(), _SHORTEST_WAIT))
            case None:
                _log.info("dispatch.out_of_date", job=message.job.job_id, generation=message.generation)

    def _do(self, message: Message, held: Held) -> None:
        try:
            self._run_under_lease(held)
        except DispatchInterruptedError:
            # It was alive, so its attempts count from here.
            self._put_back(message, held, "PENDING", attempts=0, delay=timedelta(0))
        except Exception as error:  # noqa: BLE001 - a run that raises is retried or abandoned; the worker goes on
            self._failed(message, held, error)
        else:
            rows.close(held, "SUCCESS")

    def _run_under_lease(self, held: Held) -> None:
        if held.attempts > self._settings.dispatch_attempts:
            raise PermanentError(f"it died {self._settings.dispatch_attempts} times without a word")
        lease = self._settings.dispatch_lease
        with heartbeat(lambda: rows.extend(held, self._clock() + lease), every=lease / 4):
            self._run(held.job, self._checkpoint())

    def _checkpoint(self) -> Checkpoint:
        ends_at = time.monotonic() + self._turn.total_seconds()

        def checkpoint() -> None:
            if self._stop_sign.is_raised:
                raise DispatchInterruptedError("the worker is stopping")
            if time.monotonic() > ends_at:
                raise DispatchInterruptedError("it is somebody else's turn")

        return checkpoint

    def _failed(self, message: Message, held: Held, error: Exception) -> None:
        _log.warning("dispatch.failed", job=held.job.job_id, attempt=held.attempts, error=repr(error))
        reason = str(error) or type(error).__name__
        if isinstance(error, PermanentError) or held.attempts >= self._settings.dispatch_attempts:
            self._abandon(held.job, reason)
            rows.close(held, "FAILURE", reason)
        else:
            self._put_back(message, held, "RETRY", attempts=held.attempts, delay=backoff(held.attempts), error=reason)

    def _put_back(
        self, message: Message, held: Held, state: str, *, attempts: int, delay: timedelta, error: str = ""
    ) -> None:
        """Should this process die in between, the unsettled message comes back and finds a run that waits."""
        now = self._clock()
        if rows.put_back(held, state, now + delay, attempts=attempts, error=error):
            self._dispatcher.send_again(message, delay)
            rows.note_published(message, now)
