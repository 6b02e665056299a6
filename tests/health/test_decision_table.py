"""The decision table of the design, row by row, and the rules around it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from headcount.domain.records import TaskCounts
from headcount.domain.states import JobState
from headcount.health.finding import Condition, Remedy
from headcount.health.observation import Patience, WorkersTestimony
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
    LINGERING,
    MINUTE,
    NO_ROWS,
    NOW,
    POLICY,
    SECOND,
    SILENT,
    STALE,
    decided,
    ledger,
    progress,
    remedies,
    state,
)

DRAINED = QueueDepth(0, 0, 0)
NOBODY = WorkersTestimony(0, None)
CELERY_WORDS = ["PENDING", "RECEIVED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED", "ignored", "a foreign word"]
ANY_CELERY = [None, SILENT, *[DispatchTestimony(word, 1) for word in CELERY_WORDS]]
TERMINAL = ["SUCCESS", "failure", "REVOKED"]
BY_DISPATCHER = ["sync_api", "internal"]


@pytest.mark.parametrize("celery", ANY_CELERY, ids=str)
@pytest.mark.parametrize(("rows", "outcome"), [(COMPLETE, JobState.SUCCESS), (COMPLETE_FAILED, JobState.FAILURE)])
def test_all_processed_and_the_ledger_agrees_gives_the_verdict(celery, rows, outcome):
    counts = rows.counts
    said = decided(
        dispatcher=celery, ledger=rows, state=state(counts.saved, counts.failed), queue=DRAINED, patience=STALE
    )
    found = said[Condition.FINISHED_NOT_FINALISED]
    assert (found.remedy, found.outcome, found.fallback) == (Remedy.FINALISE, outcome, "")
    assert Condition.STATE_DISAGREES not in said


@pytest.mark.parametrize(
    ("rows", "fail_fast"), [(COMPLETE, False), (ledger(TaskCounts(waiting=4, failed=6)), True)], ids=["all", "too many"]
)
@pytest.mark.parametrize(
    ("accounted_ago", "remedy"),
    [
        (timedelta(0), Remedy.NONE),
        (POLICY.finish_within - SECOND / 1000, Remedy.NONE),
        (POLICY.finish_within, Remedy.FINALISE),
        (-SECOND, Remedy.FINALISE),
    ],
    ids=["now", "a moment ago", "long enough ago", "in the future of a clock that was set back"],
)
def test_whoever_accounted_the_last_task_is_left_a_moment_to_end_the_job(rows, fail_fast, accounted_ago, remedy):
    rows = replace(rows, last_accounted_at=NOW - accounted_ago)
    found = decided(job={"fail_fast": fail_fast}, ledger=rows, state=state(8, 2))[Condition.FINISHED_NOT_FINALISED]
    assert found.remedy is remedy
    assert (found.outcome is None) == (remedy is Remedy.NONE)
    assert found.due == NOW + POLICY.health_interval


@pytest.mark.parametrize("age", [timedelta(0), POLICY.finish_within], ids=str)
def test_a_job_without_a_task_is_ended_by_who_collected_it_and_else_by_the_loop(age):
    job = {"task_total": 0, "created_at": NOW - age}
    found = decided(job=job, ledger=NO_ROWS, state=ABSENT)[Condition.FINISHED_NOT_FINALISED]
    assert (found.remedy is Remedy.FINALISE) == bool(age)


@pytest.mark.parametrize("celery", ANY_CELERY, ids=str)
def test_all_processed_and_the_ledger_disagrees_lets_the_ledger_win_and_the_state_be_rebuilt(celery):
    found = decided(dispatcher=celery, state=state(10))[Condition.STATE_DISAGREES]
    assert found.remedy is Remedy.REBUILD_STATE
    assert found.fallback.startswith("job 7: the state manager is overruled (it has every task processed")
    assert "6 tasks of 10 open" in found.explanation
    assert Remedy.FINALISE not in remedies(dispatcher=celery, state=state(10))


@pytest.mark.parametrize("celery", ["SUCCESS", "FAILURE"])
@pytest.mark.parametrize("queue", [None, DRAINED, QueueDepth(2, 0, 0)], ids=str)
def test_open_tasks_that_the_queue_lost_are_redelivered_while_attempts_remain(celery, queue):
    dispatcher = DispatchTestimony(celery, 1)
    found = decided(dispatcher=dispatcher, queue=queue, patience=STALE)[Condition.LOST_TASKS]
    assert found.remedy is Remedy.REPUBLISH
    assert remedies(dispatcher=dispatcher, queue=queue, patience=STALE) == [Remedy.REPUBLISH]


def test_open_tasks_whose_attempts_are_spent_fail_and_only_the_others_are_redelivered():
    spent = ledger(spent=6, most_attempts=5)
    assert remedies(ledger=spent, queue=DRAINED, patience=DESERTED, workers=NOBODY) == [Remedy.FAIL_SPENT]
    assert remedies(ledger=ledger(spent=2, most_attempts=5), queue=DRAINED) == [Remedy.FAIL_SPENT, Remedy.REPUBLISH]


@pytest.mark.parametrize("queue", [None, DRAINED, QueueDepth(6, 0, 0)], ids=str)
def test_a_job_is_revoked_when_nothing_can_finish_it_past_the_cutoff(queue):
    assert remedies(queue=queue, workers=NOBODY, patience=DESERTED) == [Remedy.REVOKE]
    found = decided(queue=queue, workers=NOBODY, patience=DESERTED)[Condition.STALLED]
    assert "no worker of pipeline 'blobs' was seen for 24 h" in found.explanation
    assert found.outcome is JobState.REVOKED


@pytest.mark.parametrize(
    "kept_alive_by",
    [
        {"workers": WorkersTestimony(1, NOW)},
        {"patience": Patience(timedelta(days=2), POLICY.revoke_without_workers_after - SECOND)},
        {"patience": Patience(POLICY.stalled_after - SECOND, timedelta(days=2))},
        {"ledger": HELD},
        {"queue": SILENT},
        {"dispatcher": SILENT},
        {"workers": SILENT},
        {"ledger": SILENT},
    ],
    ids=str,
)
def test_a_job_is_not_revoked_while_anything_can_finish_it_or_a_witness_is_silent(kept_alive_by):
    witnesses = {"workers": NOBODY, "patience": DESERTED, **kept_alive_by}
    assert Remedy.REVOKE not in remedies(**witnesses)
    assert all(found.outcome is None for found in decided(**witnesses).values())


@pytest.mark.parametrize("silence", [ABSENT, ELSEWHERE, SILENT], ids=str)
@pytest.mark.parametrize("celery", ANY_CELERY, ids=str)
def test_a_complete_ledger_decides_where_the_state_manager_cannot_testify(celery, silence):
    found = decided(dispatcher=celery, ledger=COMPLETE, state=silence, patience=DESERTED)[
        Condition.FINISHED_NOT_FINALISED
    ]
    assert (found.remedy, found.outcome) == (Remedy.FINALISE, JobState.SUCCESS)
    assert found.fallback == (
        f"job 7: the state manager cannot testify ({silence.reason}); the verdict rests on the ledger"
    )


@pytest.mark.parametrize("celery", ANY_CELERY, ids=str)
@pytest.mark.parametrize(
    ("silence", "condition"),
    [(ABSENT, Condition.STATE_LOST), (SILENT, Condition.STATE_LOST), (ELSEWHERE, Condition.STATE_ELSEWHERE)],
)
def test_a_state_manager_that_cannot_testify_over_open_tasks_is_rebuilt(celery, silence, condition):
    found = decided(dispatcher=celery, state=silence)[condition]
    assert found.remedy is Remedy.REBUILD_STATE
    assert found.fallback == (
        f"job 7: the state manager cannot testify ({silence.reason});"
        " the ledger is used instead, which has 6 tasks of 10 open"
    )
    lost = remedies(dispatcher=celery, state=silence, queue=None, patience=STALE)
    assert lost == [Remedy.REBUILD_STATE, Remedy.REPUBLISH], "rebuilt, and then as with a state manager that testifies"


@pytest.mark.parametrize("rows", [NO_ROWS, Unknown("no ledger is kept", Silence.ABSENT)], ids=str)
def test_without_a_ledger_complete_progress_is_a_success(rows):
    found = decided(ledger=rows, state=ABSENT, progress=progress(10))[Condition.FINISHED_NOT_FINALISED]
    assert (found.remedy, found.outcome) == (Remedy.FOLLOW_PROGRESS, JobState.SUCCESS)
    assert "its progress rows are believed" in found.fallback
    assert ABSENT.reason in found.fallback


def test_without_a_ledger_incomplete_progress_is_revoked_past_the_cutoff_only():
    witnesses = {"ledger": NO_ROWS, "state": ABSENT, "queue": None}
    assert remedies(**witnesses) == []
    found = decided(**witnesses, patience=STALE)[Condition.STALLED]
    assert (found.remedy, found.outcome) == (Remedy.REVOKE, JobState.REVOKED)
    assert "progress rows do not say that it is done" in found.fallback


def test_without_a_ledger_complete_progress_does_not_overrule_a_state_manager_that_testifies():
    assert remedies(ledger=NO_ROWS, state=state(4), progress=progress(10)) == []
    assert remedies(ledger=NO_ROWS, state=state(10), progress=progress(10)) == [Remedy.FOLLOW_PROGRESS]


def test_a_ledger_that_was_not_heard_is_not_a_ledger_without_rows():
    assert remedies(ledger=SILENT, state=ABSENT, progress=progress(10), patience=DESERTED) == []


def test_a_job_without_ledger_is_not_given_up_while_its_progress_rows_cannot_be_read():
    found = decided(ledger=NO_ROWS, state=ABSENT, progress=SILENT, patience=DESERTED)
    assert not [condition for condition, finding in found.items() if finding.remedy is Remedy.REVOKE]
    assert "The progress rows cannot testify: connection refused." in found[Condition.WITNESS_SILENT].explanation
    assert Remedy.REVOKE in remedies(ledger=NO_ROWS, state=ABSENT, progress=progress(3), patience=DESERTED)


@pytest.mark.parametrize("celery", [None, *[DispatchTestimony(word, 1) for word in TERMINAL]], ids=str)
def test_a_dispatch_that_died_before_its_job_was_published_is_resumed(celery):
    for rows in (NO_ROWS, ledger(TaskCounts(waiting=3))):
        witnesses = {"job": {"published": False, "task_total": None}, "ledger": rows, "state": ABSENT, "queue": None}
        found = decided(**witnesses, dispatcher=celery)[Condition.DISPATCHER_DIED]
        assert found.remedy is Remedy.RESUME_DISPATCH
        assert remedies(**witnesses, dispatcher=celery) == [Remedy.RESUME_DISPATCH]


def test_a_dispatch_that_waits_or_runs_is_asked_after_when_nothing_moves_for_long():
    witnesses = {"job": {"published": False, "task_total": None}, "ledger": NO_ROWS, "state": ABSENT, "queue": None}
    for word in ("PENDING", "STARTED", "RETRY", "a foreign word"):
        alive = DispatchTestimony(word, 1)
        assert remedies(**witnesses, dispatcher=alive) == []
        assert remedies(**witnesses, dispatcher=alive, patience=LINGERING) == [Remedy.RESUME_DISPATCH]


@pytest.mark.parametrize("celery", TERMINAL)
def test_a_dispatch_whose_attempts_are_spent_before_its_job_was_published_revokes_it(celery):
    witnesses = {"job": {"published": False, "task_total": None}, "ledger": NO_ROWS, "state": ABSENT, "queue": None}
    spent = DispatchTestimony(celery, POLICY.dispatch_attempts, "no such collection")
    assert remedies(**witnesses, dispatcher=spent) == [Remedy.REVOKE]
    assert "no such collection" in decided(**witnesses, dispatcher=spent)[Condition.DISPATCHER_DIED].explanation
    assert remedies(**witnesses | {"queue": SILENT}, dispatcher=spent) == []


def test_a_job_half_published_is_not_given_up_while_workers_hold_tasks_of_it():
    spent = DispatchTestimony("FAILURE", POLICY.dispatch_attempts)
    half = {"job": {"published": False}, "dispatcher": spent}
    assert remedies(**half) == [Remedy.REVOKE]
    assert remedies(**half, ledger=HELD) == []


def test_a_state_that_counting_has_not_begun_for_is_not_lost():
    collected = {"job": {"published": False}, "dispatcher": DispatchTestimony("STARTED", 1), "state": ABSENT}
    assert list(decided(**collected)) == [Condition.HEALTHY]
    lost = decided(**collected, patience=Patience(POLICY.health_interval + SECOND))[Condition.STATE_LOST]
    assert lost.remedy is Remedy.REBUILD_STATE


def test_a_job_just_submitted_is_about_to_be_handed_to_its_dispatcher():
    fresh = {"created_at": NOW - SECOND, "published": False, "task_total": None, "status": "CREATED"}
    witnesses = {"ledger": NO_ROWS, "state": ABSENT, "queue": None, "dispatcher": None}
    assert list(decided(job=fresh, **witnesses)) == [Condition.HEALTHY]


@pytest.mark.parametrize("mode", BY_DISPATCHER)
@pytest.mark.parametrize("celery", ["FAILURE", "REVOKED", "failure"])
def test_a_terminal_dispatch_that_failed_is_trusted(mode, celery):
    found = decided(job={"dispatch_mode": mode, "published": False}, dispatcher=DispatchTestimony(celery, 1))[
        Condition.DISPATCHER_DIED
    ]
    assert (found.remedy, found.outcome) == (Remedy.FOLLOW_DISPATCHER, JobState(celery.upper()))


@pytest.mark.parametrize("mode", BY_DISPATCHER)
def test_a_dispatch_that_succeeded_is_trusted_where_no_ledger_contradicts_it(mode):
    witnesses = {"job": {"dispatch_mode": mode, "published": False}, "dispatcher": DispatchTestimony("SUCCESS", 1)}
    found = decided(**witnesses, ledger=NO_ROWS)[Condition.DISPATCHER_DIED]
    assert (found.remedy, found.outcome) == (Remedy.FOLLOW_DISPATCHER, JobState.SUCCESS)
    assert remedies(**witnesses) == [Remedy.RESUME_DISPATCH], "the ledger has open tasks"
    assert remedies(**witnesses, patience=STALE) == [Remedy.REVOKE]
    assert remedies(**witnesses, ledger=COMPLETE_FAILED) == [Remedy.FINALISE], "a complete ledger gives the verdict"
    assert remedies(**witnesses, ledger=SILENT, patience=STALE) == []


@pytest.mark.parametrize("mode", BY_DISPATCHER)
@pytest.mark.parametrize("celery", [None, *[DispatchTestimony(word, 1) for word in ("PENDING", "STARTED", "odd")]])
def test_a_dispatch_that_is_not_terminal_revokes_its_job_past_the_cutoff(mode, celery):
    witnesses = {"job": {"dispatch_mode": mode, "published": False}, "dispatcher": celery}
    assert remedies(**witnesses, patience=STALE) == [Remedy.REVOKE]
    assert Remedy.REVOKE not in remedies(**witnesses, patience=Patience(POLICY.stalled_after - SECOND))
    for silent in ("ledger", "queue", "workers"):
        assert Remedy.REVOKE not in remedies(**witnesses, patience=STALE, **{silent: SILENT})


def test_a_healthy_job_is_healthy():
    assert list(decided()) == [Condition.HEALTHY]
    assert list(decided(ledger=HELD, queue=QueueDepth(0, 6, 0))) == [Condition.HEALTHY]


@pytest.mark.parametrize("mode", ["async_api", *BY_DISPATCHER])
def test_a_cancel_wins_against_every_other_end(mode):
    canceling = {"status": "CANCELING", "dispatch_mode": mode}
    for witnesses in ({}, {"ledger": COMPLETE}, {"ledger": SILENT}, {"patience": DESERTED, "workers": NOBODY}):
        found = decided(job=canceling, **witnesses)[Condition.CANCEL_NOT_FINISHED]
        assert (found.remedy, found.outcome) == (Remedy.FINISH_CANCEL, JobState.REVOKED)
        assert remedies(job=canceling, **witnesses) == [Remedy.FINISH_CANCEL]


def test_a_job_that_fails_fast_ends_as_soon_as_it_can_no_longer_succeed():
    lost_cause = ledger(TaskCounts(waiting=2, saved=2, failed=6))
    witnesses = {"ledger": lost_cause, "state": state(2, 6), "queue": QueueDepth(2, 0, 0)}
    found = decided(job={"fail_fast": True}, **witnesses)[Condition.FINISHED_NOT_FINALISED]
    assert (found.remedy, found.outcome) == (Remedy.FINALISE, JobState.FAILURE)
    assert list(decided(**witnesses)) == [Condition.HEALTHY], "a job that was not told to fail fast goes on"
    bearable = {"ledger": ledger(TaskCounts(waiting=3, saved=2, failed=5)), "state": state(2, 5)}
    assert remedies(job={"fail_fast": True}, **bearable) == []


def test_a_job_that_waits_for_workers_is_told_when_it_will_be_given_up():
    waiting = Patience(20 * MINUTE, 20 * MINUTE)
    found = decided(workers=NOBODY, patience=waiting)[Condition.WAITING_FOR_WORKERS]
    assert found.remedy is Remedy.NONE
    assert found.due == NOW + POLICY.revoke_without_workers_after - 20 * MINUTE
    assert "'blobs'" in found.explanation
    assert found.command.startswith("headcount worker ")
    assert Condition.STALLED not in decided(workers=NOBODY, patience=waiting)


def test_counts_on_their_way_to_the_state_manager_raise_no_alarm_unless_they_stay_there():
    assert list(decided(state=state(3), progress=progress(2))) == [Condition.HEALTHY]
    late = decided(state=state(3), progress=progress(2), patience=LINGERING)
    assert late[Condition.STATE_DISAGREES].remedy is Remedy.REBUILD_STATE
    assert late[Condition.PROGRESS_BEHIND].remedy is Remedy.LEVEL_PROGRESS


@pytest.mark.parametrize("ahead", [state(5), state(4, 1), state(4, total=12)])
def test_a_state_manager_that_claims_more_than_the_ledger_is_overruled_at_once(ahead):
    found = decided(state=ahead)[Condition.STATE_DISAGREES]
    assert found.remedy is Remedy.REBUILD_STATE
    assert found.fallback


@pytest.mark.parametrize("mode", BY_DISPATCHER)
def test_what_a_dispatch_counts_itself_is_reported_and_left_to_it(mode):
    witnesses = {"job": {"dispatch_mode": mode}, "dispatcher": DispatchTestimony("STARTED", 1)}
    assert decided(**witnesses, state=ABSENT)[Condition.STATE_LOST].remedy is Remedy.NONE
    assert decided(**witnesses, state=state(5))[Condition.STATE_DISAGREES].remedy is Remedy.NONE


def test_a_state_manager_without_stages_never_reads_as_done():
    assert remedies(state=Snapshot(())) == []
    assert remedies(state=Snapshot(()), patience=LINGERING) == [Remedy.REBUILD_STATE]


def test_a_progress_row_that_fell_behind_a_finished_job_does_not_keep_it_from_its_verdict():
    said = decided(ledger=COMPLETE, state=state(8, 2), queue=DRAINED, progress=progress(7, 2), patience=STALE)
    assert said[Condition.FINISHED_NOT_FINALISED].outcome is JobState.SUCCESS
    assert "7 done and 2 failed of 10" in said[Condition.PROGRESS_BEHIND].explanation
    assert said[Condition.PROGRESS_BEHIND].remedy is Remedy.NONE


def test_tasks_in_the_hands_of_workers_are_not_lost():
    partly_held = ledger(TaskCounts(waiting=3, leased=3, saved=4), leases_end_at=NOW + 25 * SECOND, most_attempts=1)
    assert remedies(ledger=partly_held, queue=QueueDepth(3, 3, 0)) == []
    assert remedies(ledger=partly_held, queue=QueueDepth(3, 0, 0)) == [], "the queue lost what workers hold"
    assert remedies(ledger=partly_held, queue=QueueDepth(2, 3, 0)) == [Remedy.REPUBLISH]
    assert remedies(ledger=partly_held, queue=None) == [Remedy.REPUBLISH]
    assert remedies(ledger=HELD, queue=None) == [], "their leases end first"


def test_a_result_that_was_swallowed_is_named_beside_the_loss_it_caused():
    acknowledged = decided(ledger=ledger(most_attempts=1), queue=DRAINED)
    assert set(acknowledged) == {Condition.LOST_TASKS, Condition.RESULT_SWALLOWED}
    partly = decided(ledger=ledger(most_attempts=1), queue=QueueDepth(2, 0, 0))
    assert set(partly) == {Condition.LOST_TASKS}, "what was handed out may be what the queue still holds"
    never_handed_out = decided(ledger=ledger(), queue=DRAINED)
    assert set(never_handed_out) == {Condition.LOST_TASKS}
    gone = decided(ledger=ledger(most_attempts=1), queue=None)
    assert set(gone) == {Condition.LOST_TASKS}


def test_a_task_that_crashes_its_workers_is_named():
    looping = decided(ledger=ledger(most_attempts=4), queue=QueueDepth(6, 0, 3))[Condition.REDELIVERY_CLIMBING]
    assert looping.remedy is Remedy.NONE
    assert "4 of 5 times" in looping.explanation
    assert Condition.REDELIVERY_CLIMBING not in decided(ledger=ledger(most_attempts=1), queue=QueueDepth(6, 0, 1))


def test_a_worker_that_hangs_is_told_from_one_that_extends():
    ending = ledger(TaskCounts(leased=6, saved=4), leases_end_at=NOW + 5 * SECOND, most_attempts=1)
    witnesses = {"queue": QueueDepth(0, 6, 0), "patience": Patience(MINUTE)}
    found = decided(ledger=ending, **witnesses)[Condition.HUNG_WORKER]
    assert (found.remedy, found.due) == (Remedy.NONE, NOW + 5 * SECOND)
    assert Condition.HUNG_WORKER not in decided(ledger=HELD, **witnesses)
    assert Condition.HUNG_WORKER not in decided(ledger=ending, **witnesses | {"patience": Patience(POLICY.ack_wait)})
    over = ledger(TaskCounts(leased=6, saved=4), unheld=6, most_attempts=1)
    assert "their leases are over" in decided(ledger=over, **witnesses)[Condition.HUNG_WORKER].explanation


def test_a_stale_job_with_workers_is_reported_and_left_to_them():
    found = decided(patience=STALE)[Condition.STALLED]
    assert found.remedy is Remedy.NONE
    assert "6 tasks of 10 are open" in found.explanation


def test_a_ledger_with_missing_rows_can_be_finished_by_nobody():
    holes = ledger(TaskCounts(saved=8))
    assert remedies(ledger=holes, state=state(8), queue=DRAINED) == []
    assert remedies(ledger=holes, state=state(8), queue=DRAINED, patience=STALE) == [Remedy.REVOKE]


@pytest.mark.parametrize("word", ["ABANDONED", "", "läuft"])
def test_a_status_that_nobody_knows_is_skipped_and_reported(word):
    said = decided(job={"status": word}, ledger=COMPLETE, patience=DESERTED, leftovers={"queue": "3 messages"})
    assert list(said) == [Condition.STATUS_UNKNOWN]
    assert repr(word) in said[Condition.STATUS_UNKNOWN].explanation


@pytest.mark.parametrize(
    ("status", "rows", "agrees"),
    [
        ("SUCCESS", COMPLETE, True),
        ("SUCCESS", COMPLETE_FAILED, False),
        ("SUCCESS", HELD, False),
        ("SUCCESS", NO_ROWS, False),
        ("FAILURE", COMPLETE_FAILED, True),
        ("FAILURE", COMPLETE, False),
        ("FAILURE", ledger(TaskCounts(saved=1, failed=6, cancelled=3)), True),
        ("REVOKED", HELD, True),
        ("REVOKED", COMPLETE, False),
        ("REVOKED", ledger(TaskCounts(saved=5, cancelled=5)), True),
        ("success", COMPLETE, True),
        ("SUCCESS", SILENT, True),
    ],
)
def test_a_final_status_is_held_against_the_ledger_and_stays(status, rows, agrees):
    said = decided(job={"status": status, "finished_at": NOW}, ledger=rows, patience=DESERTED)
    assert (Condition.STATUS_DISAGREES not in said) == agrees
    assert {found.remedy for found in said.values()} == {Remedy.NONE}
    assert Condition.ENDED in said


def test_what_a_job_left_behind_is_cleaned_up_when_it_has_ended():
    left = {"queue": "3 messages of run 1", "state": "keys of run 1"}
    ended = decided(job={"status": "REVOKED", "finished_at": NOW}, leftovers=left)[Condition.ORPHANS]
    assert ended.remedy is Remedy.CLEAN_UP
    assert "queue: 3 messages of run 1; state: keys of run 1" in ended.explanation
    assert ended.evidence["leftovers"] == left
    assert (ended.due, ended.next_step) == (
        NOW + POLICY.zombie_safety_age,
        "What is left over is deleted when the end is 60 min ago.",
    )
    long_ago = {"status": "REVOKED", "finished_at": NOW - 2 * POLICY.zombie_safety_age}
    assert decided(job=long_ago, leftovers=left)[Condition.ORPHANS].due == NOW + POLICY.health_interval
    assert decided(leftovers=left)[Condition.ORPHANS].remedy is Remedy.NONE
