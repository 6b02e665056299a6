"""Lease tokens: opaque to workers, signed, bound to job, run, task and attempt.

A worker sends its token back as ``reply_subject``. Nothing of it is ever used as a broker subject: the server rebuilds
what it needs from the verified numbers. Publishing to a subject that a client chose lets that client purge a stream
(NATS 2.11 and newer accept ``$JS.API.STREAM.PURGE.*`` as any other subject).
"""

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass

from headcount.errors import InvalidLeaseError

_LAYOUT = struct.Struct(">BQIQIQ")
_VERSION = 1
_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Lease:
    """What a lease token says.

    Attributes:
        job_id: the job.
        run: the job's run the lease was given in.
        ordinal: the task.
        attempt: the task's attempt, counted by the ledger from 1.
        sequence: what the queue engine needs to acknowledge the delivery.
    """

    job_id: int
    run: int
    ordinal: int
    attempt: int
    sequence: int


def sign(lease: Lease, key: bytes) -> str:
    """Return the token for a lease, as URL-safe text."""
    body = _LAYOUT.pack(_VERSION, lease.job_id, lease.run, lease.ordinal, lease.attempt, lease.sequence)
    return base64.urlsafe_b64encode(body + _signature(body, key)).decode()


def verify(token: str, key: bytes) -> Lease:
    """Return the lease a token stands for.

    Raises:
        InvalidLeaseError: the token was not issued with this key, or was altered.
    """
    raw = _decode(token)
    body, signature = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
    if len(body) != _LAYOUT.size or not hmac.compare_digest(signature, _signature(body, key)):
        raise InvalidLeaseError(
            "the lease token was not issued by this deployment or was altered; claim the task again"
        )
    version, *numbers = _LAYOUT.unpack(body)
    if version != _VERSION:
        raise InvalidLeaseError(f"the lease token has version {version}, this server reads {_VERSION}")
    return Lease(*numbers)


def signing_key(secret: str) -> bytes:
    """Derive the key that signs leases from the deployment's secret, so that no other use of it shares the key."""
    return hashlib.sha256(b"headcount lease token:" + secret.encode()).digest()


def _decode(token: str) -> bytes:
    """Return nothing for text that ``sign`` does not write: base64 has several spellings for the same bytes."""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.urlsafe_b64encode(raw).decode() == token else b""


def _signature(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_SIGNATURE_BYTES]
