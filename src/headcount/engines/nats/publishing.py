"""Publishing: put many messages into the stream, a window of them on the way at a time, each confirmed."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from headcount.engines.nats.connection import Session, stop_listening

_WINDOW = 2000
_TRIES = 3
_NO_RESPONDERS = "503"


class StreamMissingError(NatsError):
    """No stream listens to the subject."""


class RefusedError(NatsError):
    """The server refused to store a message; the text says why."""


@dataclass(frozen=True, slots=True)
class Message:
    """One task to be put into the stream; the server drops a second one of the same identity."""

    body: bytes
    identity: str


async def publish(session: Session, subject: str, messages: Sequence[Message]) -> None:
    """Put messages into the stream; confirmed on return.

    Raises:
        StreamMissingError: no stream listens.
        RefusedError: the server refused one.
        TimeoutError: some stay unconfirmed after three tries.
    """
    for start in range(0, len(messages), _WINDOW):
        waiting: Mapping[int, Message] = dict(enumerate(messages[start : start + _WINDOW]))
        for _ in range(_TRIES):
            waiting = await _unconfirmed(session, subject, waiting)
            if not waiting:
                break
        else:
            raise TimeoutError(f"{len(waiting)} messages stay unconfirmed after {_TRIES} tries")


async def _unconfirmed(session: Session, subject: str, messages: Mapping[int, Message]) -> Mapping[int, Message]:
    """Send a window and return what was not answered in time; identities make it safe to send those again.

    nats-py's ``publish_async`` is not used: its future never ends when the answer is an error of class 503.
    """
    receipts = _Receipts(messages)
    inbox = session.client.new_inbox()
    subscription = await session.client.subscribe(f"{inbox}.*", cb=receipts.arrived)
    try:
        for token, message in messages.items():
            headers = {"Nats-Msg-Id": message.identity}
            await session.client.publish(subject, message.body, reply=f"{inbox}.{token}", headers=headers)
        return await receipts.missing_after(session.timeout)
    finally:
        await stop_listening(subscription)


class _Receipts:
    """The answers to a window of publishes."""

    def __init__(self, messages: Mapping[int, Message]) -> None:
        self._waiting = dict(messages)
        self._all_here: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def arrived(self, answer: Msg) -> None:
        self._waiting.pop(int(answer.subject.rpartition(".")[2]), None)
        error = _error_of(answer)
        if self._all_here.done():
            return
        if error is not None:
            self._all_here.set_exception(error)
        elif not self._waiting:
            self._all_here.set_result(None)

    async def missing_after(self, seconds: float) -> Mapping[int, Message]:
        done, _ = await asyncio.wait([self._all_here], timeout=seconds)
        for future in done:
            future.result()
        return self._waiting


def _error_of(answer: Msg) -> NatsError | None:
    if (answer.headers or {}).get("Status") == _NO_RESPONDERS:
        return StreamMissingError("no stream listens to the subjects of this deployment")
    error = json.loads(answer.data).get("error")
    return RefusedError(f"a message was refused: {error.get('description')}") if error else None
