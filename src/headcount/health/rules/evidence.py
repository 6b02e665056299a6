"""The figures of an observation as JSON: what every finding shows for itself."""

from collections.abc import Mapping
from typing import Any

from headcount.domain.records import JobProgress, StageProgress
from headcount.health.observation import LedgerTestimony, Observation, Patience, WorkersTestimony
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Snapshot, Unknown
from headcount.ports.task_queue import QueueDepth

Figures = Mapping[str, Any]


def evidence_of(observation: Observation) -> dict[str, Any]:
    """Return what each witness said, keyed by the witness; times in ISO 8601, durations in seconds.

    A witness that did not answer shows as ``{"unknown": reason}``, one that knows nothing of the run as None.
    """
    return {
        "job": _job(observation),
        "ledger": _ledger(observation.ledger),
        "state": _state(observation.state),
        "queue": _queue(observation.queue),
        "dispatcher": _dispatcher(observation.dispatcher),
        "workers": _workers(observation.workers),
        "progress": _progress(observation.progress),
        "patience": _patience(observation.patience),
        "leftovers": {engine: str(holding) for engine, holding in observation.leftovers.items()},
    }


def _job(observation: Observation) -> Figures:
    job = observation.job
    return {
        "status": job.status,
        "run": job.run,
        "dispatch_mode": str(job.dispatch_mode),
        "task_total": job.task_total,
        "published": job.published,
    }


def _ledger(said: LedgerTestimony | Unknown) -> Figures:
    if isinstance(said, Unknown):
        return _unknown(said)
    return {
        **said.counts.by_state(),
        "unheld": said.unheld,
        "spent": said.spent,
        "most_attempts": said.most_attempts,
        "leases_end_at": said.leases_end_at.isoformat() if said.leases_end_at else None,
        "last_accounted_at": said.last_accounted_at.isoformat() if said.last_accounted_at else None,
    }


def _state(said: Snapshot | Unknown) -> Figures:
    return _unknown(said) if isinstance(said, Unknown) else _stages(said.stages)


def _queue(said: QueueDepth | Unknown | None) -> Figures | None:
    if said is None or isinstance(said, Unknown):
        return None if said is None else _unknown(said)
    return {"pending": said.pending, "in_flight": said.in_flight, "redelivered": said.redelivered}


def _dispatcher(said: DispatchTestimony | Unknown | None) -> Figures | None:
    if said is None or isinstance(said, Unknown):
        return None if said is None else _unknown(said)
    return {"state": str(said.state), "attempts": said.attempts, "error": said.error}


def _workers(said: WorkersTestimony | Unknown) -> Figures:
    if isinstance(said, Unknown):
        return _unknown(said)
    return {
        "seen_lately": said.seen_lately,
        "last_seen_at": said.last_seen_at.isoformat() if said.last_seen_at else None,
    }


def _progress(said: JobProgress | Unknown) -> Figures:
    return _unknown(said) if isinstance(said, Unknown) else _stages(said.stages)


def _stages(stages: tuple[StageProgress, ...]) -> Figures:
    return {str(item.stage): {"total": item.total, "done": item.done, "failed": item.failed} for item in stages}


def _patience(patience: Patience) -> Figures:
    return {
        "without_progress": patience.without_progress.total_seconds(),
        "without_workers": patience.without_workers.total_seconds(),
        "moved_at": patience.moved_at.isoformat() if patience.moved_at else None,
    }


def _unknown(said: Unknown) -> Figures:
    return {"unknown": said.reason, "silence": str(said.silence)}
