"""Decisions over observations that nobody would think of: total, repeatable, and never against the ledger."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headcount.domain.records import JobProgress, StageProgress, TaskCounts
from headcount.domain.states import DispatchMode, JobState, Stage
from headcount.health.decide import decide, headline
from headcount.health.finding import Condition, Finding, Policy, Remedy
from headcount.health.observation import LedgerTestimony, Observation, Patience, WorkersTestimony
from headcount.health.rules.wording import are, later, span, tasks
from headcount.ports.dispatcher import DispatchTestimony
from headcount.ports.state_manager import Silence, Snapshot, Unknown
from headcount.ports.task_queue import QueueDepth
from tests.health.given import NOW, job

NUMBERS = st.integers(0, 12)
TIMES = st.datetimes(timezones=st.just(UTC))
DURATIONS = st.timedeltas(timedelta(0), timedelta(days=1_000_000))
WORDS = st.sampled_from([*JobState]) | st.text(max_size=8)
UNKNOWN = st.builds(Unknown, st.text(max_size=8), st.sampled_from(Silence))
STAGES = st.lists(
    st.builds(StageProgress, st.sampled_from(Stage), st.none() | NUMBERS, NUMBERS, NUMBERS), max_size=4
).map(tuple)
JOBS = st.builds(
    job,
    run=st.integers(1, 3),
    pipeline=st.none() | st.text(max_size=5),
    dispatch_mode=st.sampled_from(DispatchMode),
    status=WORDS,
    task_total=st.none() | NUMBERS,
    published=st.booleans(),
    failure_threshold=st.floats(0, 1),
    created_at=TIMES,
    finished_at=st.none() | TIMES,
    fail_fast=st.booleans(),
)
COUNTS = st.builds(TaskCounts, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
LEDGERS = st.builds(LedgerTestimony, COUNTS, NUMBERS, NUMBERS, NUMBERS, st.none() | TIMES)
OBSERVATIONS = st.builds(
    Observation,
    job=JOBS,
    ledger=UNKNOWN | LEDGERS,
    state=UNKNOWN | st.builds(Snapshot, STAGES),
    queue=st.none() | UNKNOWN | st.builds(QueueDepth, NUMBERS, NUMBERS, NUMBERS),
    dispatcher=st.none() | UNKNOWN | st.builds(DispatchTestimony, WORDS, NUMBERS, st.none() | st.text(max_size=5)),
    workers=UNKNOWN | st.builds(WorkersTestimony, NUMBERS, st.none() | TIMES),
    progress=st.builds(JobProgress, STAGES),
    patience=st.builds(Patience, DURATIONS, DURATIONS, st.none() | TIMES),
    leftovers=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)
POLICIES = st.builds(
    Policy,
    stalled_after=DURATIONS,
    revoke_without_workers_after=DURATIONS,
    dispatch_lease=DURATIONS,
    max_attempts=st.integers(1, 6),
    dispatch_attempts=st.integers(1, 12),
    health_interval=DURATIONS,
    ack_wait=DURATIONS,
)


@settings(max_examples=500, deadline=None)
@given(OBSERVATIONS, POLICIES, TIMES)
def test_any_observation_is_decided_and_lawfully(observation: Observation, policy: Policy, now: datetime) -> None:
    findings = decide(observation, policy, now)
    assert findings
    assert headline(findings) in findings
    assert decide(observation, policy, now) == findings
    for finding in findings:
        assert finding.explanation
        assert json.dumps(finding.evidence)
    assert_lawful(observation, findings)


def assert_lawful(observation: Observation, findings: tuple[Finding, ...]) -> None:
    remedies = {finding.remedy for finding in findings}
    outcomes = {finding.outcome for finding in findings} - {None}
    assert len(outcomes) <= 1
    if observation.job.is_final or observation.job.state is None:
        assert remedies <= {Remedy.NONE, Remedy.CLEAN_UP}
    if isinstance(observation.ledger, Unknown):
        assert not remedies & {Remedy.REVOKE, Remedy.FINALISE}
        return
    counts = observation.ledger.counts
    is_complete = not counts.open and counts.total == observation.job.task_total
    if counts.open:
        assert JobState.SUCCESS not in outcomes
    if Remedy.FINALISE in remedies:
        assert is_complete or (observation.job.fail_fast and counts.exceeds(observation.job.failure_threshold))
    if is_complete:
        assert not remedies & {Remedy.REVOKE, Remedy.FOLLOW_DISPATCHER, Remedy.FOLLOW_PROGRESS}


def test_the_headline_is_what_ends_a_job_else_the_gravest_condition() -> None:
    lost = Finding(Condition.LOST_TASKS, Remedy.REPUBLISH, "")
    stalled = Finding(Condition.STALLED, Remedy.REVOKE, "", outcome=JobState.REVOKED)
    silent = Finding(Condition.WITNESS_SILENT, Remedy.NONE, "")
    assert headline([silent, lost]) is lost
    assert headline([silent, lost, stalled]) is stalled
    for condition in Condition:
        only = Finding(condition, Remedy.NONE, "")
        assert headline([only]) is only
    with pytest.raises(ValueError, match="empty"):
        headline([])


DAY = 86400
SPANS = {
    -5: "0 s",
    0: "0 s",
    119: "119 s",
    120: "2 min",
    7199: "119 min",
    7200: "2 h",
    DAY: "24 h",
    2 * DAY - 1: "47 h",
}


@pytest.mark.parametrize(("seconds", "words"), [*SPANS.items(), (2 * DAY, "2 d")])
def test_spans_of_time_are_said_as_people_say_them(seconds: int, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


def test_numbers_agree_with_their_nouns_and_no_moment_is_beyond_the_calendar() -> None:
    assert (tasks(1), tasks(0), are(1, "task"), are(2, "lease")) == ("1 task", "0 tasks", "1 task is", "2 leases are")
    assert later(NOW, timedelta(days=1)) == NOW + timedelta(days=1)
    assert later(NOW, timedelta.max) is None
