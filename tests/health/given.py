"""What tests of decisions begin with: an observation of a healthy running job, to be changed where a test says so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from headcount.domain.records import JobProgress, JobRecord, StageProgress, TaskCounts
from headcount.domain.states import STATE_MANAGER_STAGES, DispatchMode, Stage
from headcount.health.decide import decide
from headcount.health.finding import Condition, Finding, Policy, Remedy
from headcount.health.observation import LedgerTestimony, Observation, Patience, WorkersTestimony
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Silence, Snapshot, Unknown
from headcount.ports.task_queue import QueueDepth

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
POLICY = Policy()
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
TOTAL = 10

SILENT = Unknown("connection refused")
ABSENT = Unknown("Redis has no state of job 7, run 1", Silence.ABSENT)
ELSEWHERE = Unknown("the state of job 7 is in database index 3", Silence.ELSEWHERE)

STALE = Patience(POLICY.stalled_after, timedelta(0))
DESERTED = Patience(timedelta(days=2), POLICY.revoke_without_workers_after)
LINGERING = Patience(POLICY.health_interval + SECOND)


def job(**fields: Any) -> JobRecord:
    """A published, running job of ten tasks that was submitted an hour ago."""
    made = JobRecord(
        id=7,
        run=1,
        kind="ml",
        name="a night",
        project_id=1,
        pipeline="blobs",
        dispatch_mode=DispatchMode.ASYNC_API,
        status="STARTED",
        task_total=TOTAL,
        published=True,
        failure_threshold=0.5,
        priority=0,
        config={},
        created_at=NOW - HOUR,
    )
    return replace(made, **fields)


def ledger(counts: TaskCounts | None = None, **fields: Any) -> LedgerTestimony:
    """A ledger whose waiting tasks are held by nobody."""
    counts = counts or TaskCounts(waiting=6, saved=4)
    return LedgerTestimony(counts, **{"unheld": counts.waiting, **fields})


COMPLETE = ledger(TaskCounts(saved=8, failed=2))
COMPLETE_FAILED = ledger(TaskCounts(saved=4, failed=6))
HELD = ledger(TaskCounts(leased=6, saved=4), leases_end_at=NOW + 25 * SECOND, most_attempts=1)
NO_ROWS = ledger(TaskCounts())


def state(done: int = 4, failed: int = 0, total: int = TOTAL) -> Snapshot:
    """A state manager in whose stages so many tasks are done."""
    return Snapshot(tuple(StageProgress(stage, total, done, failed) for stage in STATE_MANAGER_STAGES))


def progress(done: int = 4, failed: int = 0, total: int | None = TOTAL) -> JobProgress:
    """Progress rows of a collected job."""
    counted = [StageProgress(stage, total, done, failed) for stage in STATE_MANAGER_STAGES]
    return JobProgress((StageProgress(Stage.COLLECT, total, total or 0), *counted))


def observed(**witnesses: Any) -> Observation:
    """What is said of a healthy job whose first four tasks are saved and whose others wait; ``job`` takes fields."""
    fields = witnesses.pop("job", {})
    healthy = Observation(
        job=job(**fields),
        ledger=ledger(),
        state=state(),
        queue=QueueDepth(6, 0, 0),
        dispatcher=DispatchTestimony("SUCCESS", 1),
        workers=WorkersTestimony(2, NOW),
        progress=progress(),
        patience=Patience(),
    )
    return replace(healthy, **witnesses)


def decided(**witnesses: Any) -> dict[Condition, Finding]:
    """The findings of an observation, by their condition."""
    return {finding.condition: finding for finding in decide(observed(**witnesses), POLICY, NOW)}


def remedies(**witnesses: Any) -> list[Remedy]:
    """What is done about an observation, in order."""
    return [found.remedy for found in decide(observed(**witnesses), POLICY, NOW) if found.remedy is not Remedy.NONE]
