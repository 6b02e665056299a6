"""What a worker says on stderr."""

import sys
from collections import Counter
from collections.abc import Iterable

import structlog
from structlog.typing import Processor


def configure_logs(*, as_json: bool) -> None:
    """Send log lines to stderr: words for people, or one JSON object a line for machines. Times are UTC."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_rendering(as_json=as_json),
        ],
        logger_factory=_to_stderr,
    )


def tally(words: Iterable[str]) -> str:
    """Count words for a log line: ``["saved", "stale", "saved"]`` becomes ``"2 saved, 1 stale"``."""
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())


def _rendering(*, as_json: bool) -> list[Processor]:
    if as_json:
        return [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _to_stderr(*_: object) -> structlog.PrintLogger:
    """Look stderr up for each line: whoever configured the logs may have had another, and closed it since."""
    return structlog.PrintLogger(sys.stderr)
