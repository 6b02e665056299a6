"""Checks of the NATS server: does it answer, and can it carry this deployment's queue."""

from collections.abc import Iterator

from headcount.checks.finding import Finding
from headcount.clock import system_clock
from headcount.conf import Settings
from headcount.engines.nats.checks import inspect
from headcount.errors import EngineUnavailableError

_ABOUT = "queue"


def probe(settings: Settings) -> Iterator[Finding]:
    """Check the server behind ``HEADCOUNT_QUEUE_URL``: version, JetStream, clock, and the stream if it is there."""
    try:
        found = inspect(settings.queue_url.split(","), settings.deployment_name, system_clock)
    except EngineUnavailableError as error:
        yield Finding(_ABOUT, str(error), "start nats-server -js, or correct HEADCOUNT_QUEUE_URL")
        return
    for problem in found.problems:
        yield Finding(_ABOUT, problem.seen, problem.remedy)
    if not found.problems:
        yield Finding(_ABOUT, f"NATS {found.server_version} answers with JetStream")
