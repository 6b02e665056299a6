"""Connections to Redis: patient for seconds and not for ever, safe to share between threads and across a fork."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from redis import AuthenticationError, BlockingConnectionPool, Redis, RedisError, ResponseError
from redis import ConnectionError as RedisConnectionError
from redis.backoff import NoBackoff
from redis.retry import Retry

from headcount.errors import ConfigurationError, EngineUnavailableError

TIMEOUT_SECONDS: Final = 2.0
"""How long one answer of Redis is waited for."""

_MOST_CONNECTIONS = 64
_TRIES_AFTER_THE_FIRST = 1


def connect(url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Redis:
    """Return a client with a pool of connections, none of them open yet.

    A connection that was reset is opened again once; a server that hangs is not asked twice. Options in the query of
    the URL come before ``timeout_seconds``.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with the database index as its path or its ``db`` option.
        timeout_seconds: for opening a connection, for an answer, and for a connection of the pool to be free.

    Raises:
        ConfigurationError: the URL is none that Redis has.
    """
    _refuse_unreadable_index(url)
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MOST_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), _TRIES_AFTER_THE_FIRST, (RedisConnectionError,)),
            # RESP 3 brings notifications, and with them the pool no longer looks for answers left on a connection.
            protocol=2,
        )
    except ValueError as error:
        raise ConfigurationError(f"HEADCOUNT_STATE_URL: {error}; a URL that works: redis://127.0.0.1:6379/0") from error
    return Redis.from_pool(pool)


@contextmanager
def answering() -> Iterator[None]:
    """Turn a Redis that does not answer, or refuses, into the error the ports name."""
    try:
        yield
    except RedisError as error:
        raise EngineUnavailableError(f"{_what_happened(error)}: {error}") from error


def database_index(client: Redis) -> int:
    """Return the database index a client's connections use."""
    return int(client.get_connection_kwargs().get("db") or 0)


def _refuse_unreadable_index(url: str) -> None:
    """The client library takes an index it cannot read for 0."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    if parts.scheme in ("redis", "rediss") and path and not path.isdecimal():
        raise ConfigurationError(f"HEADCOUNT_STATE_URL: {path!r} is not a database index; write a number such as /0")


def _what_happened(error: RedisError) -> str:
    # A long request on a connection without a password is refused before Redis has read which command it is.
    if isinstance(error, AuthenticationError) or "unauthenticated" in str(error):
        return "Redis refuses the user or the password"
    if isinstance(error, ResponseError):
        return "Redis refuses the request"
    return "Redis does not answer"
