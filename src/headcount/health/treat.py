"""Treat: observe jobs, decide, and apply what was decided; each job by itself, so that none keeps another from it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import structlog
from django.db.models import Q

from headcount import metrics
from headcount.domain.records import JobRecord
from headcount.errors import TemporaryError
from headcount.health.apply import apply
from headcount.health.decide import decide
from headcount.health.fallback import announce
from headcount.health.finding import Finding, Policy, Remedy
from headcount.health.hearing import AskedOnce, in_time
from headcount.health.observation import Observation
from headcount.health.observe import PAGE, observe_many
from headcount.ports.deployment import Deployment
from headcount.store import jobs

_log = structlog.get_logger(__name__)

Wanted = Callable[[Observation], bool]


@dataclass(frozen=True, slots=True)
class Treatment:
    """What became of one finding.

    Attributes:
        job_id: whose it is.
        finding: what was found; None where the job could not even be observed.
        changed: whether its remedy changed anything.
        error: why its remedy could not be applied; empty where it could, or where there was none to apply.
    """

    job_id: int
    finding: Finding | None
    changed: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Treated:
    """One job that was looked at: what was seen of it, and what became of each finding."""

    job_id: int
    observation: Observation | None
    treatments: tuple[Treatment, ...]


class Round:
    """One look at jobs under one policy.

    An engine that does not answer for one job is not asked for the next ones: a remedy that found it so is left to the
    next round. The dispatcher's broker is asked once for all of them.

    Args:
        deployment: whose jobs.
        policy: what to decide by.
        dry_run: only observe and decide; nothing is written, not even how long jobs have stood still.
    """

    def __init__(self, deployment: Deployment, policy: Policy, *, dry_run: bool = False) -> None:
        self._deployment = deployment
        self._policy = policy
        self._dry_run = dry_run
        self._postponed: dict[Remedy, str] = {}
        self._reach_broker = AskedOnce(deployment.dispatcher.reach_broker)

    def running(self, wanted: Wanted = lambda _: True) -> Iterator[Treated]:
        """Treat every job that has not ended, oldest first, as far as it is wanted once it is observed.

        Raises:
            Exception: the database does not answer for the list of jobs.
        """
        after = 0
        while ids := self._running_ids(after, PAGE):
            yield from self.these(ids, wanted)
            after = ids[-1]

    def these(self, job_ids: Sequence[int], wanted: Wanted = lambda _: True) -> Iterator[Treated]:
        """Treat the jobs with these ids, as far as they are wanted once they are observed."""
        for job_id, observation in self._observed(job_ids):
            if isinstance(observation, str):
                yield Treated(job_id, None, (Treatment(job_id, None, error=observation),))
            elif wanted(observation):
                yield Treated(job_id, observation, tuple(self._treat(observation)))

    def _observed(self, job_ids: Sequence[int]) -> Iterator[tuple[int, Observation | str]]:
        """Observe all at once; where that fails, each by itself, to find whose fault it is."""
        try:
            with self._in_time():
                page = jobs.find(Q(pk__in=job_ids), limit=len(job_ids))
            observations = self._observe(page)
        except Exception:  # noqa: BLE001 - one job that cannot be read or observed must not hide the others
            _log.warning("health.observing_one_by_one", jobs=len(job_ids), exc_info=True)
            # A database that does not answer at all raises here, instead of once for every job.
            self._running_ids(0, 1)
            yield from ((job_id, self._observed_alone(job_id)) for job_id in job_ids)
        else:
            yield from ((observation.job.id, observation) for observation in observations)

    def _observed_alone(self, job_id: int) -> Observation | str:
        try:
            with self._in_time():
                job = jobs.get(job_id)
            return self._observe([job])[0]
        except Exception as error:  # noqa: BLE001 - as above
            _log.exception("health.job_not_observed", job=job_id)
            return _words_of(error)

    def _running_ids(self, after: int, limit: int) -> Sequence[int]:
        with self._in_time():
            return jobs.running_ids(after, limit)

    def _in_time(self) -> AbstractContextManager[None]:
        """The rows of the jobs have as long to be read as every other witness has."""
        return in_time(self._deployment.settings.witness_timeout)

    def _observe(self, page: Sequence[JobRecord]) -> list[Observation]:
        return observe_many(self._deployment, page, remember=not self._dry_run, reach_broker=self._reach_broker)

    def _treat(self, observation: Observation) -> Iterator[Treatment]:
        job_id = observation.job.id
        try:
            findings = decide(observation, self._policy, self._deployment.clock())
        except Exception as error:  # noqa: BLE001 - as above
            _log.exception("health.job_not_decided", job=job_id)
            yield Treatment(job_id, None, error=_words_of(error))
            return
        if not self._dry_run:
            announce(observation, findings)
        yield from (self._apply(observation, finding) for finding in findings)

    def _apply(self, observation: Observation, finding: Finding) -> Treatment:
        job_id = observation.job.id
        if self._dry_run or finding.remedy is Remedy.NONE:
            return Treatment(job_id, finding)
        if finding.remedy in self._postponed:
            return Treatment(job_id, finding, error=self._postponed[finding.remedy])
        try:
            return Treatment(job_id, finding, changed=apply(self._deployment, observation, finding))
        except TemporaryError as error:
            _log.warning("health.postponed", job=job_id, remedy=finding.remedy, reason=str(error))
            self._postponed[finding.remedy] = str(error)
            return self._not_applied(job_id, finding, error)
        except Exception as error:  # noqa: BLE001 - as above
            _log.exception("health.job_not_repaired", job=job_id, remedy=finding.remedy)
            return self._not_applied(job_id, finding, error)

    @staticmethod
    def _not_applied(job_id: int, finding: Finding, error: Exception) -> Treatment:
        metrics.repairs_not_done.labels(finding.remedy).inc()
        return Treatment(job_id, finding, error=_words_of(error))


def _words_of(error: Exception) -> str:
    return str(error) or type(error).__name__
