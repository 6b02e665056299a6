"""Post what was computed until the server has taken it."""

from dataclasses import replace
from http import HTTPStatus
from typing import Final

import structlog

from headcount_worker.errors import GoneError, RefusedError, ServerAwayError, TokenRefusedError, TooLargeError
from headcount_worker.logs import tally
from headcount_worker.outbox import Parcel
from headcount_worker.shared import Shared
from headcount_worker.wire import PostedResult, ResultsAccepted, TaskError

log = structlog.get_logger("headcount_worker")

CRASHES_BEFORE_SPLIT: Final = 3


class Poster:
    """Empties the outbox into the server. What the server cannot take now waits; what it never will is settled."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._outbox = shared.outbox
        self._book = shared.book
        self._stopping = shared.stopping
        self._clock = shared.clock
        self._backoff = shared.backoff
        self._linger_seconds = shared.settings.linger_seconds
        self._failures = 0

    def run(self) -> None:
        """Post until the outbox is closed and empty, or what is left is abandoned."""
        while (parcel := self._next_parcel()) is not None:
            if self._stopping.abandoned.is_set():
                return
            self.deliver(parcel)

    def deliver(self, parcel: Parcel) -> None:
        """Post one parcel and do with it what the answer asks for."""
        try:
            accepted = self._client.post_results(parcel.job_id, parcel.results)
        except ServerAwayError as away:
            self._keep(parcel, away)
        except TokenRefusedError as refusal:
            self._outbox.put_back([parcel])
            self._stopping.fail(refusal)
        except GoneError as refusal:
            self._drop(parcel, refusal)
        except RefusedError as refusal:
            self._split_or_explain(parcel, refusal)
        else:
            self._note(parcel, accepted)

    def _next_parcel(self) -> Parcel | None:
        """Give what to post next; a fast pipeline's results gather for a moment, so that they share a request."""
        self._outbox.wait_for_some()
        if not self._outbox.closed.is_set():
            self._clock.wait(self._outbox.closed, self._linger_seconds)
        return self._outbox.take()

    def _keep(self, parcel: Parcel, away: ServerAwayError) -> None:
        self._failures += 1
        crashed = away.status == HTTPStatus.INTERNAL_SERVER_ERROR
        kept = replace(parcel, grows=False, crashes=parcel.crashes + crashed)
        # One result the server stumbles over must not hold back for ever those that are posted with it.
        splits = kept.crashes >= CRASHES_BEFORE_SPLIT and len(kept.results) > 1
        self._outbox.put_back(kept.halves() if splits else [kept])
        self._clock.wait(self._stopping.abandoned, self._backoff.delay(self._failures, away.retry_after))

    def _drop(self, parcel: Parcel, refusal: RefusedError) -> None:
        log.warning("results dropped", job_id=parcel.job_id, count=len(parcel.results), reason=str(refusal))
        self._settle(parcel)

    def _split_or_explain(self, parcel: Parcel, refusal: RefusedError) -> None:
        if len(parcel.results) > 1:
            too_large = isinstance(refusal, TooLargeError)
            self._outbox.put_back(parcel.halves() if too_large else parcel.singles())
        elif isinstance(parcel.results[0].result, TaskError):
            self._drop(parcel, refusal)
        else:
            log.warning("the server refuses a result", job_id=parcel.job_id, reason=str(refusal))
            self._outbox.put_back([Parcel(parcel.job_id, (_as_error(parcel.results[0], refusal),), grows=False)])

    def _note(self, parcel: Parcel, accepted: ResultsAccepted) -> None:
        statuses = [answer.status for answer in accepted.tasks] or [accepted.status] * len(parcel.results)
        log.info("posted", job_id=parcel.job_id, count=len(parcel.results), answers=tally(statuses))
        for answer in accepted.tasks:
            if answer.status == "rejected":
                log.warning("result rejected", job_id=parcel.job_id, task_id=answer.task_id, reason=answer.reason)
        self._settle(parcel)

    def _settle(self, parcel: Parcel) -> None:
        self._failures = 0
        self._outbox.settle(parcel)
        self._book.drop(parcel.leases)


def _as_error(posted: PostedResult, refusal: RefusedError) -> PostedResult:
    """Give the task an end: without one it is done again and refused again, for as long as it has attempts."""
    return PostedResult(
        reply_subject=posted.reply_subject,
        result=TaskError(error=f"the server refused the worker's result: {refusal}"),
    )
