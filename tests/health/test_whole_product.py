"""Every combination of what witnesses can say, and the laws that hold for each of them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice, product
from math import gcd
from typing import Any

import pytest

from headcount.domain.records import JobRecord, TaskCounts
from headcount.domain.states import DispatchMode, JobState
from headcount.health.decide import decide, headline
from headcount.health.finding import Condition, Finding, Remedy
from headcount.health.observation import LedgerTestimony, Observation, Patience, WorkersTestimony
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Silence, Snapshot, Unknown
from headcount.ports.task_queue import QueueDepth
from tests.health.given import (
    ABSENT,
    COMPLETE,
    COMPLETE_FAILED,
    DESERTED,
    ELSEWHERE,
    HELD,
    NO_ROWS,
    NOW,
    POLICY,
    SILENT,
    STALE,
    TOTAL,
    job,
    ledger,
    progress,
    state,
)

OTHER_STATUSES = [*sorted(set(JobState) - {JobState.STARTED}), "ABANDONED"]
MODES = list(DispatchMode)
# The states of celery.states, spelt out: what a test of tolerance knows must not change with the library.
CELERY_WORDS = [
    "PENDING",
    "RECEIVED",
    "STARTED",
    "SUCCESS",
    "FAILURE",
    "REVOKED",
    "REJECTED",
    "RETRY",
    "IGNORED",
    "a foreign word",
]
WORDS_WITH_SPENT_ATTEMPTS = ["PENDING", "STARTED", "SUCCESS", "FAILURE"]

ENDING = frozenset({Remedy.FINALISE, Remedy.REVOKE, Remedy.FOLLOW_DISPATCHER, Remedy.FOLLOW_PROGRESS})
REPAIRS_OF_FINAL_JOBS = frozenset({Remedy.NONE, Remedy.CLEAN_UP})


@dataclass(frozen=True)
class Rows:
    """A ledger, and what the job's row says of collecting and publishing."""

    said: LedgerTestimony | Unknown
    task_total: int | None = TOTAL
    published: bool = True

    @property
    def has_open_tasks(self) -> bool:
        return isinstance(self.said, LedgerTestimony) and self.said.counts.open > 0

    @cached_property
    def is_complete(self) -> bool:
        return isinstance(self.said, LedgerTestimony) and self.said.counts.total == TOTAL and not self.said.counts.open


@dataclass(frozen=True)
class Standing:
    """How long nothing has moved, and whether a worker was seen."""

    workers: WorkersTestimony | Unknown
    patience: Patience


AXES: Mapping[str, Mapping[str, Any]] = {
    "celery": {
        "none": None,
        "silent": SILENT,
        **{word: DispatchTestimony(word, 1) for word in CELERY_WORDS},
        **{f"{word} spent": DispatchTestimony(word, POLICY.dispatch_attempts) for word in WORDS_WITH_SPENT_ATTEMPTS},
    },
    "state": {
        "all processed": state(8, 2),
        "not processed": state(4),
        "absent": ABSENT,
        "elsewhere": ELSEWHERE,
        "unheard": SILENT,
        "broken": Unknown("the state of job 7, run 1 in Redis is not whole", Silence.BROKEN),
    },
    "ledger": {
        "success": Rows(COMPLETE),
        "failure": Rows(COMPLETE_FAILED),
        "held": Rows(replace(HELD, leases_end_at=NOW + POLICY.ack_wait / 3)),
        "unheld": Rows(ledger()),
        "empty": Rows(NO_ROWS),
        "partly collected": Rows(ledger(TaskCounts(waiting=3)), task_total=None, published=False),
        "not begun": Rows(NO_ROWS, task_total=None, published=False),
        "silent": Rows(SILENT),
        "silent, not collected": Rows(SILENT, task_total=None, published=False),
    },
    "attempts": {"none": 0, "one": 1, "most": POLICY.max_attempts - 2, "all": POLICY.max_attempts},
    "queue": {
        "none": None,
        "silent": SILENT,
        "full": QueueDepth(6, 0, 0),
        "drained": QueueDepth(0, 0, 0),
        "in flight": QueueDepth(0, 6, 0),
        "redelivered": QueueDepth(2, 4, 4),
    },
    "standing": {
        "fresh": Standing(WorkersTestimony(2, NOW), Patience()),
        "stale": Standing(WorkersTestimony(2, NOW), STALE),
        "waiting": Standing(WorkersTestimony(0), STALE),
        "deserted": Standing(WorkersTestimony(0), DESERTED),
        "workers silent": Standing(SILENT, DESERTED),
    },
    "progress": {"complete": progress(8, 2), "behind": progress(3), "unread": SILENT},
}
SILENCES: Mapping[str, str] = {"celery": "silent", "state": "absent", "queue": "silent", "progress": "unread"}
SILENCE_OF_LEDGER = {True: "silent", False: "silent, not collected"}


def with_attempts(rows: Rows, attempts: int) -> Rows | None:
    """The same rows whose open tasks were handed out so often; None where that cannot be.

    Attempts are told of open tasks alone: where none is open, and where the ledger is not heard, there are none.
    Nothing is handed out before all is collected, and what is held was handed out. What is held is not spent yet.
    """
    if not isinstance(rows.said, LedgerTestimony) or not rows.has_open_tasks or rows.task_total is None:
        return None if attempts else rows
    if rows.said.leases_end_at and not attempts:
        return None
    spent = rows.said.unheld if attempts >= POLICY.max_attempts else 0
    return replace(rows, said=replace(rows.said, most_attempts=attempts, spent=spent))


ROWS: Mapping[tuple[str, str], Rows] = {
    (name, attempts): made
    for name, rows in AXES["ledger"].items()
    for attempts, number in AXES["attempts"].items()
    if (made := with_attempts(rows, number)) is not None
}
"""What the rows can say, by the names of a ledger and of how often its open tasks were handed out."""

Key = tuple[str, ...]
"""One value of each axis, by name."""

STRIDE = 13
"""Prime to the length of every axis, so that a walk in such strides meets every pair of values."""


@dataclass(frozen=True)
class Decided:
    """One point of the product."""

    key: Key
    observation: Observation
    findings: tuple[Finding, ...]

    @cached_property
    def endings(self) -> frozenset[JobState | None]:
        return frozenset([found.outcome for found in self.findings if found.remedy in ENDING])

    @cached_property
    def remedies(self) -> frozenset[Remedy]:
        return frozenset([found.remedy for found in self.findings])

    def __str__(self) -> str:
        return f"{dict(zip(AXES, self.key, strict=True))}: {[(str(f.condition), str(f.remedy)) for f in self.findings]}"


def walk(mode: DispatchMode, status: str, stride: int = 1) -> Iterator[Decided]:
    """Decide at every point of the product, or at one in ``stride``, for one dispatch mode and one status."""
    finished_at = NOW if status in {"SUCCESS", "FAILURE", "REVOKED"} else None
    jobs = {
        name: job(
            dispatch_mode=mode,
            status=status,
            finished_at=finished_at,
            task_total=rows.task_total,
            published=rows.published and mode is DispatchMode.ASYNC_API,
        )
        for name, rows in AXES["ledger"].items()
    }
    for key in islice(every_key(), None, None, stride):
        observation = observation_at(key, jobs)
        yield Decided(key, observation, decide(observation, POLICY, NOW))


def every_key() -> Iterator[Key]:
    """Every point that can be: of ledger and attempts only what ``ROWS`` has of them."""
    before = product(AXES["celery"], AXES["state"])
    after = product(AXES["queue"], AXES["standing"], AXES["progress"])
    return ((*first, *rows, *last) for first, rows, last in product(before, ROWS, after))


def observation_at(key: Key, jobs: Mapping[str, JobRecord]) -> Observation:
    celery, said_state, rows, attempts, queue, standing, written = key
    where = AXES["standing"][standing]
    return Observation(
        job=jobs[rows],
        ledger=ROWS[rows, attempts].said,
        state=AXES["state"][said_state],
        queue=AXES["queue"][queue],
        dispatcher=AXES["celery"][celery],
        workers=where.workers,
        progress=AXES["progress"][written],
        patience=where.patience,
        leftovers={"queue": "3 messages"} if queue == "redelivered" else {},
    )


def assert_lawful(point: Decided) -> None:
    """What holds at every single point."""
    rows = AXES["ledger"][point.key[2]]
    assert point.findings, point
    assert len(point.findings) == len({(found.condition, found.explanation) for found in point.findings}), point
    assert headline(point.findings) in point.findings
    assert len([found for found in point.findings if found.fallback]) <= 1, point
    assert len([found for found in point.findings if found.outcome is not None]) <= 1, point
    for found in point.findings:
        assert found.explanation.endswith("."), point
        assert found.evidence, point
        assert found.remedy is Remedy.NONE or (found.next_step and found.due and found.command), point
    assert_ends_lawfully(point, rows)
    assert_fits_the_status(point, rows)


def assert_ends_lawfully(point: Decided, rows: Rows) -> None:
    counts = rows.said.counts if isinstance(rows.said, LedgerTestimony) else None
    if counts is not None and counts.open:
        assert JobState.SUCCESS not in point.endings, point
    if Remedy.FINALISE in point.remedies:
        assert rows.is_complete, point
    if rows.is_complete:
        assert not point.remedies & {Remedy.REVOKE, Remedy.FOLLOW_DISPATCHER, Remedy.FOLLOW_PROGRESS}, point
    if Remedy.FAIL_SPENT in point.remedies:
        assert point.key[2:4] == ("unheld", "all"), point
    if Remedy.REPUBLISH in point.remedies:
        assert rows.has_open_tasks, point
        assert point.key[3] != "all", point
    if Remedy.REVOKE in point.remedies:
        assert "silent" not in " ".join(point.key), point
        assert rows.said != NO_ROWS or "unread" not in point.key, point


def assert_fits_the_status(point: Decided, rows: Rows) -> None:
    status = point.observation.job.state
    if status is None:
        assert point.remedies == {Remedy.NONE}, point
    elif status.is_final:
        assert point.remedies <= REPAIRS_OF_FINAL_JOBS, point
    elif status is JobState.CANCELING:
        assert point.remedies - {Remedy.NONE} == {Remedy.FINISH_CANCEL}, point
    elif rows.is_complete:
        assert Remedy.FINALISE in point.remedies, point


Endings = frozenset[JobState | None]


def assert_no_more_confident(worse: Key, key: Key, endings: Mapping[Key, Endings]) -> None:
    """A witness that fell silent ends no job that its word did not end, nor ends it otherwise.

    The one exception is the row of the table that names it: with no ledger and no state, complete progress decides.
    """
    gained = endings[worse] - endings[key]
    is_named_fallback = (worse[1], worse[6]) == (SILENCES["state"], "complete") and AXES["ledger"][
        key[2]
    ].said == NO_ROWS
    assert not gained or is_named_fallback, f"{key} ends {endings[key]}, but {worse} ends {endings[worse]}"


def worse_points(key: Key) -> Iterator[Key]:
    """Yield the key with any one witness replaced by one that cannot testify."""
    names = list(AXES)
    for name, silence in SILENCES.items():
        place = names.index(name)
        yield (*key[:place], silence, *key[place + 1 :])
    rows = AXES["ledger"][key[2]]
    yield (*key[:2], SILENCE_OF_LEDGER[rows.published], "none", *key[4:])
    if key[5] == "deserted":
        yield (*key[:5], "workers silent", *key[6:])


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_laws_hold_at_every_point_of_the_product(mode: DispatchMode) -> None:
    endings: dict[Key, Endings] = {}
    for point in walk(mode, "STARTED"):
        assert_lawful(point)
        endings[point.key] = point.endings
    for key in endings:
        for worse in worse_points(key):
            assert_no_more_confident(worse, key, endings)


@pytest.mark.parametrize("status", OTHER_STATUSES, ids=str)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_laws_hold_for_every_other_status(mode: DispatchMode, status: str) -> None:
    """A job that runs is decided alike wherever it stands on its way; no other is ended on what witnesses say."""
    if status in {"CREATED", "PENDING", "RETRY"}:
        for point, started in zip(walk(mode, status, STRIDE), walk(mode, "STARTED", STRIDE), strict=True):
            assert_lawful(point)
            assert in_short(point) == in_short(started), point
    else:
        for point in walk(mode, status, 1 if status == "CANCELING" else STRIDE):
            assert_lawful(point)
            assert not point.endings, point


def in_short(point: Decided) -> list[tuple[Condition, Remedy, JobState | None]]:
    return [(found.condition, found.remedy, found.outcome) for found in point.findings]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_evidence_is_json_and_a_decision_repeats_itself(mode: DispatchMode) -> None:
    for status in ("STARTED", "SUCCESS", "ABANDONED"):
        for point in walk(mode, status, 7 * STRIDE):
            for found in point.findings:
                assert json.loads(json.dumps(found.evidence)) == found.evidence
            assert decide(point.observation, POLICY, NOW) == point.findings


def test_every_condition_and_every_remedy_is_met_in_the_product() -> None:
    """The walk ends with the last of them, which some mode and status brings early."""
    missing: set[Condition | Remedy] = {*Condition, *Remedy}
    walks = (
        walk(mode, status, STRIDE) for status in ("STARTED", "CANCELING", "SUCCESS", "ABANDONED") for mode in MODES
    )
    for point in chain.from_iterable(walks):
        missing -= {word for found in point.findings for word in (found.condition, found.remedy)}
        if not missing:
            break
    assert not missing, "met nowhere"


def test_the_walk_in_strides_meets_every_pair_of_values() -> None:
    """And the axis of the state manager has both of its answers and each kind of its silence."""
    sizes = [len(ROWS), *(len(axis) for axis in AXES.values())]
    assert all(gcd(size, STRIDE) == 1 for size in sizes)
    answers = AXES["state"].values()
    assert {answer.all_tasks_processed for answer in answers if isinstance(answer, Snapshot)} == {True, False}
    assert [answer.silence for answer in answers if isinstance(answer, Unknown)].count(Silence.UNHEARD) == 1
    assert {answer.silence for answer in answers if isinstance(answer, Unknown)} == set(Silence)
