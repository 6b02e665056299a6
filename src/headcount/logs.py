"""How the server logs: one readable line for each event on stderr, or JSON."""

import logging
import sys

import structlog


def configure_logs(*, as_json: bool = False, level: str = "info") -> None:
    """Send structured log lines to stderr, with the time in UTC; ``level`` is the least that is shown."""
    renderer = structlog.processors.JSONRenderer() if as_json else _console_renderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_to_stderr,
        cache_logger_on_first_use=False,
    )
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    """Plain tracebacks: those with local variables would print settings and tokens."""
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _to_stderr(*_: object) -> structlog.PrintLogger:
    """Look stderr up for each line: whoever configured the logs may have had another, and closed it since."""
    return structlog.PrintLogger(sys.stderr)
