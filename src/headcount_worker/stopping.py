"""How the threads of one worker learn that it is time to end, and why."""

import threading
from threading import Event

import structlog

from headcount_worker.errors import WorkerError

log = structlog.get_logger("headcount_worker")


class Stopping:
    """The worker's two stages of ending.

    ``draining``: claim nothing more, finish what is in work, post it, release the rest.
    ``abandoned``: give up on what the server has not taken.
    """

    def __init__(self) -> None:
        self.draining = Event()
        self.abandoned = Event()
        self.error: BaseException | None = None
        self._lock = threading.Lock()

    def drain(self, why: str) -> None:
        """Begin to end in good order; told twice, the first reason stands."""
        with self._lock:
            is_news = not self.draining.is_set()
            self.draining.set()
        if is_news:
            log.info("draining: finishing what is in work, claiming nothing more", why=why)

    def abandon(self) -> None:
        """Stop waiting for the server to take what is computed."""
        self.abandoned.set()

    def fail(self, error: BaseException) -> None:
        """End because of an error; told twice, the first error stands.

        A refused token leaves nothing to wait for. After an error nobody foresaw, what is computed is still posted.
        """
        with self._lock:
            is_news = self.error is None
            self.error = self.error or error
        if is_news and isinstance(error, WorkerError):
            log.error("stopping", reason=str(error))
        elif is_news:
            log.error("stopping after an error nobody foresaw", exc_info=error)
        if isinstance(error, WorkerError):
            self.abandoned.set()
        self.draining.set()
