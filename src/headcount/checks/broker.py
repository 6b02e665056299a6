"""Check of the broker: does it answer, and let this deployment in."""

from collections.abc import Iterator

from kombu import Connection

from headcount.checks.finding import Finding
from headcount.conf import Settings
from headcount.engines.celery.broker import reach
from headcount.errors import EngineUnavailableError

_PATIENCE_SECONDS = 4


def probe(settings: Settings) -> Iterator[Finding]:
    """Check the server behind ``HEADCOUNT_BROKER_URL``."""
    broker = Connection(settings.broker_url, connect_timeout=_PATIENCE_SECONDS)
    try:
        reach(broker)
    except EngineUnavailableError as error:
        yield Finding("broker", str(error), "start it, or correct HEADCOUNT_BROKER_URL")
    else:
        yield Finding("broker", f"{broker.as_uri()} answers")
