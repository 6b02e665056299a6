"""Check of the broker: does it answer, and let this deployment in."""

from collections.abc import Iterator

from amqp.exceptions import AMQPError
from kombu import Connection
from kombu.exceptions import KombuError

from headcount.checks.finding import Finding
from headcount.conf import Settings

_PATIENCE_SECONDS = 4


def probe(settings: Settings) -> Iterator[Finding]:
    """Check the server behind ``HEADCOUNT_BROKER_URL``."""
    with Connection(settings.broker_url, connect_timeout=_PATIENCE_SECONDS) as broker:
        try:
            broker.connect()
            broker.channel().close()
        except (*broker.connection_errors, *broker.channel_errors, KombuError, AMQPError, OSError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            yield Finding("broker", f"it does not answer: {reason}", "start it, or correct HEADCOUNT_BROKER_URL")
        else:
            yield Finding("broker", f"{broker.as_uri()} answers")
