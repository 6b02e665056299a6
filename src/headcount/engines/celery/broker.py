"""The broker: whether it answers and lets this deployment in."""

from typing import Any

from amqp.exceptions import AMQPError, MessageNacked
from kombu import Connection
from kombu.exceptions import KombuError

from headcount.errors import EngineUnavailableError


def open_connection(connection: Connection) -> None:
    """Connect to the first server of a URL that answers, and ask each once.

    Left to itself the client waits for seconds and asks a broker that refuses again; the caller knows better.
    """
    connection.ensure_connection(
        max_retries=max(len(connection.alt) - 1, 0), interval_start=0, reraise_as_library_errors=False
    )


def reach(connection: Connection) -> None:
    """Return where the broker answers and lets this deployment in; the connection is closed again.

    RabbitMQ lets in whom it allows to publish nothing while it is short of memory or disk.

    Raises:
        EngineUnavailableError: it does not; the message says why.
    """
    with connection:
        try:
            open_connection(connection)
            connection.channel().close()
        except errors_of(connection) as error:
            raise EngineUnavailableError(f"it does not answer: {reason_of(error)}") from error


def errors_of(connection: Connection) -> tuple[Any, ...]:
    """Return what a client of this broker raises where that does not answer, or refuses."""
    return (*connection.connection_errors, *connection.channel_errors, KombuError, AMQPError, MessageNacked, OSError)


def reason_of(error: BaseException) -> str:
    """Return an error's words on one line, or its name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
