"""One observation under one policy at one moment, and what follows from it for every rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from headcount.domain.records import JobProgress, JobRecord
from headcount.domain.states import DispatchMode
from headcount.domain.verdict import live_bound
from headcount.health.finding import Condition, Finding, Policy, Remedy
from headcount.health.observation import LedgerTestimony, Observation
from headcount.health.rules.evidence import evidence_of
from headcount.health.rules.wording import later
from headcount.ports.state_manager import Silence, Snapshot, Unknown
from headcount.ports.task_queue import QueueDepth

_LEASES_UNTIL_ASKED = 3
"""A dispatch that moves nothing for so many of its leases is asked after; until then its engine recovers by itself."""


@dataclass(frozen=True)
class Case:
    """What the rules look at; ``evidence`` is shared by all findings of the case."""

    observation: Observation
    policy: Policy
    now: datetime
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, observation: Observation, policy: Policy, now: datetime) -> "Case":
        """Return the case with its evidence."""
        return cls(observation, policy, now, evidence_of(observation))

    @property
    def job(self) -> JobRecord:
        """The job's row."""
        return self.observation.job

    @property
    def is_async(self) -> bool:
        """Whether pull workers do the job."""
        return self.job.dispatch_mode == DispatchMode.ASYNC_API

    @property
    def ledger(self) -> LedgerTestimony | None:
        """What the ledger says, None where it is silent."""
        said = self.observation.ledger
        return None if isinstance(said, Unknown) else said

    @property
    def state(self) -> Snapshot | None:
        """What the state manager says, None where it cannot testify."""
        said = self.observation.state
        return None if isinstance(said, Unknown) else said

    @property
    def queue(self) -> QueueDepth | None:
        """What the queue holds, nothing where it does not know the run, None where it is silent."""
        said = self.observation.queue
        if isinstance(said, Unknown):
            return None
        return said or QueueDepth(0, 0, 0)

    @property
    def workers_seen(self) -> int | None:
        """How many workers were seen lately, None where nobody can tell."""
        said = self.observation.workers
        return None if isinstance(said, Unknown) else said.seen_lately

    @property
    def progress(self) -> JobProgress | None:
        """What the progress rows say, None where they are silent."""
        said = self.observation.progress
        return None if isinstance(said, Unknown) else said

    @cached_property
    def silent(self) -> tuple[tuple[str, Unknown], ...]:
        """The witnesses without whose word no job is given up, as far as they are silent.

        The progress rows are one where there is no ledger: then they alone may know that the job is done.
        """
        last_resort = (("progress rows", self.observation.progress),) if self.has_no_ledger else ()
        asked = (
            ("ledger", self.observation.ledger),
            ("queue", self.observation.queue),
            ("dispatcher", self.observation.dispatcher),
            ("workers", self.observation.workers),
            *last_resort,
        )
        return tuple([(name, said) for name, said in asked if isinstance(said, Unknown)])

    @property
    def is_whole(self) -> bool:
        """Whether the ledger holds every task of the job."""
        ledger = self.ledger
        return ledger is not None and self.job.task_total is not None and ledger.counts.total == self.job.task_total

    @property
    def is_complete(self) -> bool:
        """Whether the ledger holds every task of the job and none is open."""
        ledger = self.ledger
        return ledger is not None and self.is_whole and not ledger.counts.open

    @property
    def fails_fast(self) -> bool:
        """Whether too many tasks have failed already, of a job that is not to go on then."""
        ledger = self.ledger
        if ledger is None or not self.is_whole or not self.job.fail_fast:
            return False
        return not live_bound(ledger.counts.total, ledger.counts.failed, self.job.failure_threshold).can_succeed

    @property
    def is_decided(self) -> bool:
        """Whether the ledger alone says how the job ends."""
        return self.is_complete or self.fails_fast

    @property
    def is_being_ended(self) -> bool:
        """Whether the end was decided so lately that whoever decided it may be about to write it."""
        ledger = self.ledger
        decided_at = self.job.created_at if ledger is None else ledger.last_accounted_at or self.job.created_at
        return timedelta(0) <= self.now - decided_at < self.policy.finish_within

    @property
    def has_no_ledger(self) -> bool:
        """Whether the ledger has no rows of a job that should have some; one that was not heard says nothing."""
        said = self.observation.ledger
        if isinstance(said, Unknown):
            return said.silence is not Silence.UNHEARD
        return said.counts.total == 0 and self.job.task_total != 0

    @property
    def is_finished_by_progress(self) -> bool:
        """Whether the progress rows alone are left to tell, and say that everything is done."""
        nobody_objects = self.state is None or self.state.all_tasks_processed
        is_complete = self.progress is not None and self.progress.is_complete()
        return self.is_async and self.has_no_ledger and nobody_objects and is_complete

    @property
    def held(self) -> int:
        """Open tasks that a running lease covers."""
        ledger = self.ledger
        return 0 if ledger is None else max(0, ledger.counts.open - ledger.unheld)

    @property
    def is_held(self) -> bool:
        """Whether any lease runs."""
        ledger = self.ledger
        ends_at = None if ledger is None else ledger.leases_end_at
        return self.held > 0 or (ends_at is not None and ends_at > self.now)

    @property
    def standstill(self) -> timedelta:
        """For how long nothing has moved."""
        return self.observation.patience.without_progress

    @property
    def is_stale(self) -> bool:
        """Whether nothing has moved for as long as the policy waits."""
        return self.standstill >= self.policy.stalled_after

    @property
    def lingers(self) -> bool:
        """Whether nothing has moved from one look to the next: what is still different then is no delay any more."""
        return self.standstill > self.policy.health_interval

    @property
    def is_quiet(self) -> bool:
        """Whether the dispatch has moved nothing for longer than its engine takes to recover it."""
        return self.standstill > max(_LEASES_UNTIL_ASKED * self.policy.dispatch_lease, self.policy.health_interval)

    @property
    def is_settled(self) -> bool:
        """Whether the job is old enough that the dispatcher must know it."""
        return self.now - self.job.created_at > self.policy.dispatch_lease

    @property
    def is_without_workers(self) -> bool:
        """Whether no worker of the pipeline has been seen for as long as the policy waits for one."""
        waited = self.observation.patience.without_workers >= self.policy.revoke_without_workers_after
        return self.workers_seen == 0 and waited

    @property
    def next_look(self) -> datetime | None:
        """When the health loop looks again at the latest."""
        return later(self.now, self.policy.health_interval)

    def finding(self, condition: Condition, remedy: Remedy, explanation: str, **fields: Any) -> Finding:
        """Return a finding with this case's evidence; a remedy is due at the next look and can be had at once."""
        if remedy is not Remedy.NONE:
            fields = {"due": self.next_look, "command": f"headcount health --job {self.job.id}"} | fields
        return Finding(condition, remedy, explanation, self.evidence, **fields)

    def report(self, condition: Condition, explanation: str, **fields: Any) -> Finding:
        """Return a finding that nothing is done about."""
        return self.finding(condition, Remedy.NONE, explanation, **fields)

    def fallback(self, used_instead: str) -> str:
        """Return the sentence of a state manager that cannot testify, empty where it can."""
        said = self.observation.state
        if not isinstance(said, Unknown):
            return ""
        return f"job {self.job.id}: the state manager cannot testify ({said.reason}); {used_instead}"
