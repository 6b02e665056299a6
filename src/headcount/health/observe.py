"""Observe: gather what every witness says of jobs, with none able to hold up or to falsify another.

No lock is held, and no transaction is open while an engine beyond the database is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError

from headcount.conf import Settings
from headcount.domain.patience import Watch
from headcount.domain.records import JobProgress, JobRecord, JobRef
from headcount.domain.states import DispatchMode
from headcount.errors import EngineUnavailableError
from headcount.health.hearing import Answers, Witness, hear, in_time
from headcount.health.observation import LedgerTestimony, Observation, Patience, WorkersTestimony
from headcount.health.patience import Sighting, aged
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Silence, Snapshot, Unknown
from headcount.ports.task_queue import QueueDepth
from headcount.store import jobs, patience, testimonies
from headcount.store.testimonies import Offer, TaskSums

_log = structlog.get_logger(__name__)

PAGE = 1000
"""How many jobs are asked about at once; the number of queries grows with the pages and not with the jobs."""

_NOTHING = QueueDepth(0, 0, 0)
_NO_OFFER = Offer(0, None)


def observe(deployment: Deployment, job_id: int) -> Observation:
    """Return what all witnesses say of one job; nothing is written.

    Raises:
        NotFoundError: there is no such job.
        EngineUnavailableError: the database does not answer in time for the job's row.
    """
    try:
        with in_time(deployment.settings.witness_timeout):
            job = jobs.get(job_id)
    except (OperationalError, InterfaceError) as error:
        raise EngineUnavailableError(f"the row of job {job_id}: {' '.join(str(error).split())}") from error
    return observe_many(deployment, [job])[0]


def observe_many(
    deployment: Deployment,
    page: Sequence[JobRecord],
    *,
    remember: bool = False,
    reach_broker: Callable[[], None] | None = None,
) -> list[Observation]:
    """Return what all witnesses say of each job, in the order given, with a number of queries that does not grow.

    Args:
        deployment: the engines.
        page: the jobs, no more than ``PAGE`` of them.
        remember: keep for the next look how long each job has stood still; the health loop does, a diagnosis does not.
        reach_broker: asks the dispatcher's broker, where several pages are to share its answer.
    """
    now = deployment.clock()
    heard = _hear(deployment, {job.ref: job for job in page}, now, reach_broker or deployment.dispatcher.reach_broker)
    looks = [_look(deployment, job, Testimony(*(answers[job.ref] for answers in heard)), now) for job in page]
    if remember:
        _remember([look for look in looks if not look.observation.job.is_final], deployment.settings.witness_timeout)
    return [look.observation for look in looks]


@dataclass(frozen=True, slots=True)
class Testimony:
    """What each witness says of one run, in the order in which they are asked."""

    ledger: TaskSums | Unknown
    state: Snapshot | Unknown
    queue: QueueDepth | Unknown | None
    dispatcher: DispatchTestimony | Unknown | None
    workers: Offer | Unknown
    progress: JobProgress | Unknown
    watch: Watch | Unknown | None
    broker: Unknown | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a job: what was observed, how it stood at the look before, and how it stands now."""

    observation: Observation
    before: Watch | Unknown | None
    watch: Watch


def _hear(
    deployment: Deployment, page: Mapping[JobRef, JobRecord], now: datetime, reach_broker: Callable[[], None]
) -> list[Answers]:
    queue, state, dispatcher, settings = deployment.queue, deployment.state, deployment.dispatcher, deployment.settings

    def ledger(some: Sequence[JobRef]) -> Answers:
        latest = now + settings.longest_lease
        return testimonies.of_ledger(some, max_attempts=settings.max_attempts, now=now, latest=latest)

    def workers(some: Sequence[JobRef]) -> Answers:
        since = now - settings.workers_seen_within
        offers = testimonies.of_workers([page[job].project_id for job in some], since=since)
        return {job: offers.get((page[job].project_id, page[job].pipeline or ""), _NO_OFFER) for job in some}

    def broker(some: Sequence[JobRef]) -> Answers:
        reach_broker()
        return dict.fromkeys(some)

    behind = [
        Witness(f"the state manager ({state.name})", state.snapshots, state.in_database),
        Witness(f"the queue ({queue.name})", queue.depths, queue.in_database),
        Witness(f"the dispatcher ({dispatcher.name})", dispatcher.testimonies, dispatcher.in_database),
        Witness("the workers", workers),
        Witness("the progress rows", testimonies.of_progress),
        Witness("the patience rows", patience.of),
        *([Witness(f"the broker ({dispatcher.broker})", broker, in_database=False)] if dispatcher.broker else []),
    ]
    # The ledger last: what is saved, counted and acknowledged in between makes them look behind it, never ahead.
    heard = hear(behind, list(page), settings.witness_timeout)
    return [*hear([Witness("the ledger", ledger)], list(page), settings.witness_timeout), *heard]


def _look(deployment: Deployment, job: JobRecord, said: Testimony, now: datetime) -> Look:
    workers = _workers(deployment.settings, job, said, now)
    before = None if isinstance(said.watch, Unknown) else said.watch
    watch = aged(before, _sighting(job, said, workers), now, 2 * deployment.settings.health_interval)
    observation = Observation(
        job=job,
        ledger=said.ledger if isinstance(said.ledger, Unknown) else _ledger(said.ledger, now),
        state=said.state,
        queue=said.queue,
        dispatcher=_dispatcher(said),
        workers=workers,
        progress=said.progress,
        patience=Patience(watch.idle, watch.unserved, watch.moved_at),
        leftovers=_leftovers(deployment, said) if job.is_final else {},
    )
    return Look(observation, said.watch, watch)


def _dispatcher(said: Testimony) -> DispatchTestimony | Unknown | None:
    """Return what the dispatcher says; without its broker, nothing that anybody could act on.

    A run that is noted as waiting may wait because of the broker; one that is noted as ended waits for being taken up
    again, or for its last word to be followed, until the broker is back.
    """
    if said.broker is None:
        return said.dispatcher
    if not isinstance(said.dispatcher, DispatchTestimony):
        return said.broker
    return replace(said.broker, reason=f"{said.broker.reason}; the dispatch is noted as {said.dispatcher.state}")


def _ledger(sums: TaskSums, now: datetime) -> LedgerTestimony:
    ends_at = sums.last_lease_ends_at
    return LedgerTestimony(
        counts=sums.counts,
        unheld=sums.unheld,
        spent=sums.spent,
        most_attempts=sums.most_attempts,
        leases_end_at=ends_at if ends_at is not None and ends_at > now else None,
        last_accounted_at=sums.last_accounted_at,
    )


def _workers(settings: Settings, job: JobRecord, said: Testimony, now: datetime) -> WorkersTestimony | Unknown:
    """Whoever claimed, extended or posted is alive, whatever the register of workers has noted of it."""
    if isinstance(said.workers, Unknown):
        return said.workers
    signs = [said.workers.last_seen_at]
    if job.dispatch_mode is DispatchMode.ASYNC_API and isinstance(said.ledger, TaskSums):
        leased_until = said.ledger.last_lease_ends_at
        signs += [said.ledger.last_saved_at, leased_until and min(now, leased_until - settings.ack_wait)]
    last_seen_at = max((sign for sign in signs if sign is not None), default=None)
    is_recent = last_seen_at is not None and last_seen_at >= now - settings.workers_seen_within
    return WorkersTestimony(max(said.workers.seen, int(is_recent)), last_seen_at)


def _sighting(job: JobRecord, said: Testimony, workers: WorkersTestimony | Unknown) -> Sighting:
    engines = (said.ledger, said.state, said.queue, said.dispatcher, said.broker)
    is_served: bool | None
    if job.dispatch_mode is not DispatchMode.ASYNC_API or job.task_total is None:
        is_served = True
    else:
        is_served = None if isinstance(workers, Unknown) else workers.seen_lately > 0
    return Sighting(
        job=job.ref,
        mark=None if isinstance(said.ledger, Unknown) else _mark(job, said.ledger),
        all_answered=not any(isinstance(word, Unknown) and word.silence is Silence.UNHEARD for word in engines),
        is_served=is_served,
    )


def _mark(job: JobRecord, sums: TaskSums) -> str:
    """Collected rows, accounted rows, attempts, the last lease's end and the stage: something moved if one differs."""
    lease = sums.last_lease_ends_at.isoformat() if sums.last_lease_ends_at else "-"
    stage = f"{job.status}/{job.task_total}/{int(job.published)}"
    return f"{sums.counts.total}:{sums.counts.accounted}:{sums.attempts}:{lease}:{stage}"


def _leftovers(deployment: Deployment, said: Testimony) -> dict[str, str]:
    """A queue in the database knows every run; elsewhere, knowing of one means that something was made for it."""
    found = {}
    if isinstance(said.queue, QueueDepth) and not (deployment.queue.in_database and said.queue == _NOTHING):
        found["queue"] = f"{said.queue.pending} messages that wait and {said.queue.in_flight} under a lease"
    if isinstance(said.state, Snapshot):
        found["state manager"] = f"counts of {max(stage.total or 0 for stage in said.state.stages)} tasks"
    if isinstance(said.state, Unknown) and said.state.silence is Silence.BROKEN:
        found["state manager"] = said.state.reason
    return found


def _remember(looks: Sequence[Look], timeout: timedelta) -> None:
    """A page that cannot be written is aged at the next look, by no more than a look may count."""
    changes = []
    for look in looks:
        if isinstance(look.before, Unknown):
            _log.warning("health.patience_unknown", job=look.watch.job.job_id, reason=look.before.reason)
        else:
            changes.append((look.before, look.watch))
    try:
        with in_time(timeout):
            patience.keep(changes)
    except (DatabaseError, InterfaceError) as error:
        _log.warning("health.patience_not_kept", jobs=len(changes), reason=str(error))
