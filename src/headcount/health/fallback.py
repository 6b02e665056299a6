"""The fallback is loud: where a witness could not testify, a warning says so, and a metric counts it."""

from collections.abc import Iterable

import structlog

from headcount import metrics
from headcount.health.finding import Condition, Finding
from headcount.health.observation import Observation
from headcount.ports.state_manager import Unknown

_log = structlog.get_logger(__name__)

DISAGREES = "disagrees"
"""The class of a state manager that testified, and was overruled by the ledger."""

OTHER = "other"


def announce(observation: Observation, findings: Iterable[Finding]) -> None:
    """Warn of each fallback that findings name, once however many name it, and count it by its class."""
    by_sentence = {finding.fallback: finding for finding in findings if finding.fallback}
    for sentence, finding in by_sentence.items():
        _log.warning("state.fallback", job=observation.job.id, reason=_reason(observation, finding), fallback=sentence)
        metrics.state_fallbacks.labels(_reason_class(observation, finding)).inc()


def _reason(observation: Observation, finding: Finding) -> str:
    return observation.state.reason if isinstance(observation.state, Unknown) else finding.explanation


def _reason_class(observation: Observation, finding: Finding) -> str:
    if isinstance(observation.state, Unknown):
        return observation.state.silence
    return DISAGREES if finding.condition is Condition.STATE_DISAGREES else OTHER
