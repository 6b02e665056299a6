"""Names: every subject, stream and consumer, built from whole numbers and the deployment's own name.

A subject that a client sent back must never be published to: ``+ACK`` to ``$JS.API.STREAM.PURGE.x`` purges a stream,
an empty payload to ``STREAM.DELETE.x`` deletes it. So what a client holds is a number in a signed token, and whatever
is not a number cannot be formatted into a subject here.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from headcount.domain.records import JobRef

_DEPLOYMENT = re.compile(r"[a-z][a-z0-9_-]*")
_CONSUMER = re.compile(r"job-(\d+)-run-(\d+)-[0-9a-f]{5}")
_RUN = re.compile(r"(\d+)\.(\d+)")
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)
_SEQUENCE_BITS = 43
_INCARNATION_MASK = 2**20 - 1


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one deployment; two deployments on one server share none.

    Args:
        deployment: lower-case letters, digits, ``_`` and ``-``, beginning with a letter.

    Raises:
        ValueError: the name has a character that means something in a subject.
    """

    deployment: str

    def __post_init__(self) -> None:
        """Refuse a name that would change the shape of a subject."""
        if not _DEPLOYMENT.fullmatch(self.deployment):
            raise ValueError(f"{self.deployment!r} cannot be part of a subject")

    @property
    def stream(self) -> str:
        """The stream that holds the tasks of every run."""
        return f"{self.deployment}_TASKS"

    @property
    def probe(self) -> str:
        """The stream that an inspection makes and deletes at once; its only subject is ``<deployment>.probe``."""
        return f"{self.deployment}_PROBE"

    @property
    def subjects(self) -> str:
        """What the stream listens to."""
        return f"{self.deployment}.tasks.>"

    @property
    def news(self) -> str:
        """What is said, outside the stream and to whoever listens, when tasks were put in or given back."""
        return f"{self.deployment}.news"

    def run(self, job: JobRef) -> str:
        """Return the subject of every task of a run and nothing else; a message's body is the ordinal.

        A subject for each task would let the stream itself refuse a second message, but on 2.9 a pull that finds
        nothing then takes 100 ms beside 600,000 tasks of another run, where this way it takes 0.4 ms.
        """
        return f"{self.deployment}.tasks.{job.job_id:d}.{job.run:d}"

    def consumer(self, job: JobRef, incarnation: int) -> str:
        """Return the durable consumer of a run in one incarnation of the stream."""
        return f"job-{job.job_id:d}-run-{job.run:d}-{incarnation:05x}"

    def run_of_consumer(self, consumer: str) -> JobRef | None:
        """Return the run whose consumer bears this name, None where it is of no run."""
        return _run_in(_CONSUMER, consumer)

    def run_of_subject(self, subject: str) -> JobRef | None:
        """Return the run whose tasks bear this subject, None where they are of no run."""
        return _run_in(_RUN, subject.removeprefix(f"{self.deployment}.tasks."))

    def next_of(self, consumer: str) -> str:
        """Return the subject that asks a consumer for messages."""
        return f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{consumer}"

    def deletion(self) -> str:
        """Return the subject that deletes one message of the stream."""
        return f"$JS.API.STREAM.MSG.DELETE.{self.stream}"

    def acknowledgement(self, consumer: str, sequence: int, consumer_sequence: int = 0) -> str:
        """Return the subject that settles one message.

        It reads ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>``. Servers from
        2.9 to 2.15 look the message up by its stream sequence. An acknowledgement or extension needs no consumer
        sequence, and 0 is the one that cannot be taken for the next above the acknowledgement floor. A release needs
        one between that floor and the newest, or it is ignored without a word (``processNak`` in the server's
        ``consumer.go``).
        """
        return f"$JS.ACK.{self.stream}.{consumer}.1.{sequence:d}.{consumer_sequence:d}.0.0"


def _run_in(pattern: re.Pattern[str], name: str) -> JobRef | None:
    found = pattern.fullmatch(name)
    return JobRef(int(found[1]), int(found[2])) if found else None


def identity(job: JobRef, ordinal: int, generation: int) -> str:
    """Return the ``Nats-Msg-Id`` of a task, by which the server drops a repetition within its duplicate window."""
    return f"{job.job_id:d}.{job.run:d}.{ordinal:d}.{generation:d}"


def incarnation_of(created: datetime) -> int:
    """Return the number that tells a stream from another one of the same name, by when it was made.

    A stream that is deleted and made again counts its messages from 1 again: without this number a lease from before
    would settle somebody else's task. Of two incarnations one in a million shares its number.
    """
    microseconds: int = (created - _EPOCH) // _MICROSECOND
    return microseconds & _INCARNATION_MASK


def pack(incarnation: int, sequence: int) -> int:
    """Return a stream sequence and the incarnation it belongs to as one number of 63 bits."""
    return incarnation << _SEQUENCE_BITS | sequence


def unpack(packed: int) -> tuple[int, int]:
    """Return the incarnation and the stream sequence of a packed number."""
    return packed >> _SEQUENCE_BITS, packed % 2**_SEQUENCE_BITS
