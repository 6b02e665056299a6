"""Metrics in the form of Prometheus: what the processes count of themselves, read at ``/metrics``.

Names of jobs are no labels: they belong in the log, where the same events are told one by one.
"""

import os

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder through which the processes of one host add up what they count, as prometheus-client has it."""

CONTENT_TYPE = CONTENT_TYPE_LATEST

state_fallbacks = Counter(
    "headcount_state_fallback_total",
    "Times the state manager could not testify, or was overruled, and another witness was used instead.",
    ["reason_class"],
)
repairs = Counter("headcount_repairs_total", "Repairs of the health loop that changed something.", ["remedy"])
repairs_not_done = Counter(
    "headcount_repairs_failed_total", "Repairs of the health loop that could not be made.", ["remedy"]
)
tick_seconds = Gauge(
    "headcount_health_tick_seconds", "How long the last health check took.", multiprocess_mode="mostrecent"
)
tick_ended_at = Gauge(
    "headcount_health_tick_timestamp_seconds",
    "When the last health check ended, in seconds since 1970.",
    multiprocess_mode="mostrecent",
)
tick_jobs = Gauge(
    "headcount_health_tick_jobs", "Running jobs that the last health check looked at.", multiprocess_mode="mostrecent"
)
tick_outcomes = Gauge(
    "headcount_health_tick_outcomes",
    "What the last health check found, by sub-check: checked, fixed, unfixable.",
    ["check", "outcome"],
    multiprocess_mode="mostrecent",
)


def exposition() -> bytes:
    """Return every metric of this process, or of all processes that share a folder, as Prometheus reads it."""
    return generate_latest(_shared() if os.environ.get(SHARED_DIRECTORY) else REGISTRY)


def _shared() -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
