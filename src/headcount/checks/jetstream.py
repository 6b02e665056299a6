"""Checks of the NATS server: does it answer, and is JetStream on."""

import asyncio
from collections.abc import Iterator

import nats
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError, ServiceUnavailableError

from headcount.checks.finding import Finding
from headcount.conf import Settings

_PATIENCE_SECONDS = 3


def probe(settings: Settings) -> Iterator[Finding]:
    """Check the server behind ``HEADCOUNT_QUEUE_URL``."""
    yield asyncio.run(_look(settings.queue_url))


async def _look(url: str) -> Finding:
    try:
        client = await nats.connect(
            url.split(","),
            connect_timeout=_PATIENCE_SECONDS,
            allow_reconnect=False,
            # Left to itself the client tries a server that refuses sixty times.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            error_cb=_leave_to_the_caller,
        )
    except (NatsError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        return Finding(
            "queue", f"NATS does not answer: {reason}", "start nats-server -js, or correct HEADCOUNT_QUEUE_URL"
        )
    try:
        await client.jetstream(timeout=_PATIENCE_SECONDS).account_info()
    except (ServiceUnavailableError, NotFoundError):
        return Finding("queue", "NATS answers, but JetStream is off", "start nats-server with -js -sd DIRECTORY")
    except (JetStreamError, NatsError, TimeoutError) as error:
        return Finding("queue", f"JetStream does not answer: {error!r}", "look at the log of nats-server")
    finally:
        await client.close()
    version = client.connected_server_version
    return Finding("queue", f"NATS {version.major}.{version.minor}.{version.patch} answers with JetStream")


async def _leave_to_the_caller(_: Exception) -> None:
    """The error is raised as well; printed here it would be told twice."""
