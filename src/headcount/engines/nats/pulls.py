"""Pulls: ask a consumer for the messages that are ready now."""

import asyncio
import json

from nats.aio.msg import Msg

from headcount.engines.nats.connection import Session, stop_listening

_NO_RESPONDERS = "503"
_STATUS = "Status"


async def pull(session: Session, subject: str, limit: int) -> list[Msg] | None:
    """Return up to ``limit`` messages that are ready now; None where no consumer answered within the session's timeout.

    The inbox is this request's own: a ``PullSubscription`` shared by concurrent requests stalls for seconds. And
    messages come under the subject they were published to, so that requests on one inbox could not be told apart.

    The request is ``no_wait`` without an expiry: with one, servers make an empty consumer wait it out. It is answered
    by messages and, where there are fewer than asked for, by a status: 404 (none, or no more), 408 (others wait
    already, or no more), 409 (too many waiting). Where there is no consumer, 2.9 says nothing and 2.15 says 503.
    """
    answers = _Answers(limit)
    inbox = session.client.new_inbox()
    subscription = await session.client.subscribe(inbox, cb=answers.arrived)
    try:
        body = json.dumps({"batch": limit, "no_wait": True}).encode()
        await session.client.publish(subject, body, reply=inbox)
        return await answers.within(session.timeout)
    finally:
        await stop_listening(subscription)


class _Answers:
    """What came in answer to one pull."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: list[Msg] = []
        self._is_answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def arrived(self, message: Msg) -> None:
        status = (message.headers or {}).get(_STATUS)
        if status is None:
            self._messages.append(message)
        is_last = status is not None or len(self._messages) >= self._limit
        if is_last and not self._is_answered.done():
            self._is_answered.set_result(status != _NO_RESPONDERS)

    async def within(self, seconds: float) -> list[Msg] | None:
        """What came before the time was up is leased to the caller, however late the rest."""
        done, _ = await asyncio.wait([self._is_answered], timeout=seconds)
        is_answered = any(future.result() for future in done)
        return self._messages if is_answered or self._messages else None
