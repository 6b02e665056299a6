"""Keep the leases alive that are worked on, and give back those that are not begun."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from headcount_worker.errors import RefusedError, ServerAwayError, TokenRefusedError, TooLargeError
from headcount_worker.logs import tally
from headcount_worker.shared import Shared
from headcount_worker.wire import LeaseAnswer, LeaseAnswers

log = structlog.get_logger("headcount_worker")

LEASES_PER_REQUEST: Final = 200
RELEASE_TRIES: Final = 3
LOST: Final = {"stale", "cancelled", "done", "rejected"}


class LeaseKeeper:
    """Extends every held lease at a third of its time, until told to end."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._book = shared.book
        self._stopping = shared.stopping
        self._clock = shared.clock
        self._backoff = shared.backoff
        self._failures = 0
        self._ended = False

    def run(self) -> None:
        """Keep extending; returns soon after ``end``, or when the token is refused."""
        while not self._ended and not self._stopping.abandoned.is_set():
            if self._book.seconds_until_due() == 0.0:
                self.extend_once()
            self._clock.wait(self._book.changed, self._book.seconds_until_due())
            self._book.changed.clear()

    def end(self) -> None:
        """Let ``run`` return."""
        self._ended = True
        self._book.changed.set()

    def extend_once(self) -> None:
        """Extend what is held, note what is lost, and set the time of the next extension."""
        try:
            for leases in _portions(self._book.to_extend()):
                self._note(_ask(self._client.extend, leases))
        except TokenRefusedError as error:
            self._stopping.fail(error)
        except RefusedError as error:
            log.warning("leases not extended", reason=str(error))
        except ServerAwayError as away:
            self._failures += 1
            self._book.schedule(self._backoff.delay(self._failures, away.retry_after))
            return
        self._failures = 0
        self._book.schedule()

    def _note(self, answers: Sequence[LeaseAnswer]) -> None:
        lost = [answer for answer in answers if answer.status in LOST]
        for answer in lost:
            self._book.lose(answer.reply_subject, answer.status)
        if lost:
            log.info("leases lost", count=len(lost), why=tally(answer.status for answer in lost))


class LeaseReleaser:
    """Gives leases back to the server, so that others may have the tasks at once."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._book = shared.book
        self._stopping = shared.stopping
        self._clock = shared.clock
        self._backoff = shared.backoff

    def release(self, leases: Sequence[str], why: str) -> None:
        """Release the leases in a few tries; a lease that cannot be released expires by itself."""
        for portion in _portions(leases):
            if self._release_portion(portion):
                log.info("released", count=len(portion), why=why)
        self._book.drop(leases)

    def _release_portion(self, leases: Sequence[str]) -> bool:
        for failures in range(1, RELEASE_TRIES + 1):
            try:
                _ask(self._client.release, leases)
            except TokenRefusedError as error:
                self._stopping.fail(error)
                return False
            except RefusedError as error:
                log.warning("leases not released, they will expire", count=len(leases), reason=str(error))
                return False
            except ServerAwayError as away:
                if failures < RELEASE_TRIES:
                    self._clock.wait(self._stopping.abandoned, self._backoff.delay(failures, away.retry_after))
            else:
                return True
        log.warning("leases not released, they will expire", count=len(leases), reason="server away")
        return False


def _ask(request: Callable[[Sequence[str]], LeaseAnswers], leases: Sequence[str]) -> list[LeaseAnswer]:
    """Send the leases in one request, or in halves when the server takes no such number."""
    try:
        return request(leases).leases
    except TooLargeError:
        if len(leases) == 1:
            raise
        middle = len(leases) // 2
        return [*_ask(request, leases[:middle]), *_ask(request, leases[middle:])]


def _portions(leases: Sequence[str]) -> list[Sequence[str]]:
    return [leases[start : start + LEASES_PER_REQUEST] for start in range(0, len(leases), LEASES_PER_REQUEST)]
