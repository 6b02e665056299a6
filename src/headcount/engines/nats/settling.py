"""Settling: acknowledge, extend or release messages that were pulled before, by their place in the stream."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from nats.errors import NoRespondersError
from nats.js.errors import APIError, NotFoundError

from headcount.engines.nats.connection import Session
from headcount.engines.nats.names import Names
from headcount.engines.nats.places import Place, Places

ACKNOWLEDGE = b"+ACK"
EXTEND = b"+WPI"
RELEASE = b"-NAK"


@dataclass(frozen=True, slots=True)
class Settling:
    """A word to be said about messages, by their sequences in the stream, to the consumer they came from."""

    place: Place
    sequences: Sequence[int]
    word: bytes


async def tell(session: Session, names: Names, settling: Settling, consumer_sequence: int = 0) -> bool:
    """Say a word about each message and return whether the consumer was there to hear.

    All but the last are published, the last is a request: one connection keeps its order, so the answer to the last
    confirms the rest at the price of one round trip. ``flush`` would not do, it returns with the server dead. The
    highest sequence goes last, because it is the one that a consumer which lost its memory does not answer.

    Raises:
        TimeoutError: nobody answered.
    """
    consumer, sequences = settling.place.consumer, sorted(settling.sequences)
    *others, last = [names.acknowledgement(consumer, sequence, consumer_sequence) for sequence in sequences]
    for subject in others:
        await session.client.publish(subject, settling.word)
    try:
        await session.client.request(last, settling.word, timeout=session.timeout)
    except NoRespondersError:
        return False
    return True


async def newest_consumer_sequence(session: Session, places: Places, place: Place) -> int | None:
    """Return the number of the consumer's newest delivery, None where the consumer is missing."""
    info = await places.look_at(session, place)
    return None if info is None or info.delivered is None else info.delivered.consumer_seq


async def remembers(session: Session, places: Places, settling: Settling) -> bool:
    """Whether the consumer is there and has handed out every one of the messages, as far as it remembers.

    A consumer that was made again, or whose server crashed before writing its state, has not: 2.15 ignores what is
    said to it about messages it has yet to hand out, without an answer.
    """
    info = await places.look_at(session, settling.place)
    return info is not None and info.delivered is not None and info.delivered.stream_seq >= max(settling.sequences)


async def delete(session: Session, names: Names, sequences: Sequence[int]) -> None:
    """Take messages out of the stream whatever any consumer remembers; one that is gone already is no error.

    Raises:
        APIError: the server refuses and a message is still there.
        TimeoutError: the server does not answer.
    """
    await asyncio.gather(*[_delete_one(session, names, sequence) for sequence in sequences])


async def _delete_one(session: Session, names: Names, sequence: int) -> None:
    """Servers answer with one error code whether a message is gone or kept, so that only looking tells."""
    body = json.dumps({"seq": sequence, "no_erase": True}).encode()
    answer = await session.client.request(names.deletion(), body, timeout=session.timeout)
    error = json.loads(answer.data).get("error")
    if error is not None and await _is_there(session, names, sequence):
        raise APIError.from_error(error)


async def _is_there(session: Session, names: Names, sequence: int) -> bool:
    try:
        await session.manager.get_msg(names.stream, sequence)
    except NotFoundError:
        return False
    return True
