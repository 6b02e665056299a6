"""The status moves only as it may, once, with an event beside it and a certificate at the end."""

from collections.abc import Callable

import pytest
from django.db import transaction

from headcount.domain.records import Event, JobRecord, JobRef, Outcome, TaskCounts
from headcount.domain.states import FINAL_STATES, JobState, from_states
from headcount.domain.verdict import Verdict, cancelled, given_up, verdict
from headcount.models import Certificate, Job, JobEvent, OutboxEntry
from headcount.store import jobs, ledger, outbox, transitions
from headcount.testing.factories import EPOCH, make_started_job
from tests.store.conftest import AtOnce

pytestmark = pytest.mark.django_db

SUCCESS = Verdict(JobState.SUCCESS, "0 failed / 1", "all done")
FAILURE = Verdict(JobState.FAILURE, "1 failed / 1", "too many failed")
REVOKED = Verdict(JobState.REVOKED, "1 = 1 waiting", "nobody works")
DONE, OPEN = TaskCounts(saved=1), TaskCounts(waiting=1)


def finish(job: JobRef, decision: Verdict, counts: TaskCounts = DONE) -> bool:
    return transitions.finish(job, decision, counts, 0.5, {"why": "a test"}, EPOCH)


MOVES: dict[JobState, Callable[[JobRef], bool]] = {
    JobState.CREATED: lambda job: transitions.retry(job, 0, Event("job.retried", "asked"), EPOCH),
    JobState.PENDING: lambda job: transitions.pend(job, EPOCH),
    JobState.STARTED: lambda job: transitions.start(job, EPOCH),
    JobState.CANCELING: lambda job: transitions.begin_cancel(job, "asked", EPOCH),
    JobState.SUCCESS: lambda job: finish(job, SUCCESS),
    JobState.FAILURE: lambda job: finish(job, FAILURE),
    JobState.REVOKED: lambda job: finish(job, REVOKED),
}


def job_in(state: str, *, done: bool = True) -> JobRecord:
    """Make a job of one task with its row in a state."""
    job = make_started_job(1)
    if done:
        ledger.account(job.id, [Outcome(0, None, {})], EPOCH)
    finished_at = EPOCH if state in FINAL_STATES else None
    Job.objects.filter(pk=job.id).update(status=state, finished_at=finished_at)
    JobEvent.objects.all().delete()
    return jobs.get(job.id)


def footprints(job: JobRecord) -> tuple[str, int, int, int]:
    of_job = {"job_id": job.id}
    rows = (JobEvent.objects, Certificate.objects, OutboxEntry.objects)
    events, certificates, errands = (manager.filter(**of_job).count() for manager in rows)
    return jobs.get(job.id).status, events, certificates, errands


@pytest.mark.parametrize("target", MOVES)
@pytest.mark.parametrize("source", [*JobState, "MELTED", "success"])
def test_only_legal_moves_are_made_and_each_leaves_one_event(source: str, target: JobState) -> None:
    job = job_in(source)
    legal = source in from_states(target)
    assert MOVES[target](job.ref) == legal
    ends = int(legal and target.is_final)
    errands = int(legal and (target.is_final or target is JobState.CREATED))
    assert footprints(job) == (target if legal else source, int(legal), ends, errands)
    assert not MOVES[target](job.ref)
    assert footprints(job)[1] == int(legal)


@pytest.mark.parametrize("target", MOVES)
def test_a_move_of_another_run_or_of_no_job_does_nothing(target: JobState) -> None:
    job = job_in(next(iter(from_states(target))))
    before = footprints(job)
    assert not MOVES[target](JobRef(job.id, job.run + 1))
    assert not MOVES[target](JobRef(job.id + 1_000_000, 1))
    assert footprints(job) == before


@pytest.mark.parametrize("decision", [SUCCESS, FAILURE])
def test_no_verdict_is_written_while_a_task_is_open(decision: Verdict) -> None:
    job = job_in("STARTED", done=False)
    assert not finish(job.ref, decision, ledger.counts(job.id))
    assert footprints(job) == ("STARTED", 0, 0, 0)
    ledger.account(job.id, [Outcome(0, None, {})], EPOCH)
    assert finish(job.ref, decision, ledger.counts(job.id))


@pytest.mark.parametrize("decision", [SUCCESS, FAILURE])
def test_no_verdict_is_written_before_the_total_is_known(decision: Verdict) -> None:
    job = job_in("STARTED")
    Job.objects.filter(pk=job.id).update(task_total=None)
    assert not finish(job.ref, decision)


def test_a_job_is_not_given_up_for_open_tasks_that_are_done_by_now() -> None:
    job = job_in("STARTED")
    assert not finish(job.ref, given_up(OPEN, "nobody works"), OPEN)
    assert footprints(job) == ("STARTED", 0, 0, 0)


def test_a_job_with_open_tasks_is_given_up_with_what_was_known() -> None:
    job = job_in("STARTED", done=False)
    assert finish(job.ref, given_up(OPEN, "nobody works"), OPEN)
    certificate = jobs.certificates(job.id)[0]
    assert (certificate.status, certificate.counts, certificate.reason) == (JobState.REVOKED, OPEN, "nobody works")


def test_a_job_being_cancelled_ends_whatever_is_open() -> None:
    job = job_in("CANCELING")
    counts = TaskCounts(waiting=1)
    assert finish(job.ref, cancelled(counts), counts)


def test_the_certificate_keeps_the_verdict_and_its_evidence() -> None:
    job = job_in("STARTED")
    counts = TaskCounts(saved=7, failed=3)
    decision = verdict(counts, 0.3)
    assert transitions.finish(job.ref, decision, counts, 0.3, {"ledger": counts.by_state()}, EPOCH)
    row = Certificate.objects.get(job_id=job.id)
    assert (row.run, row.status, row.arithmetic, row.reason) == (1, "SUCCESS", decision.arithmetic, decision.reason)
    assert (row.saved, row.failed, row.threshold, row.decided_at) == (7, 3, 0.3, EPOCH)
    assert row.evidence == {"ledger": counts.by_state()}
    assert jobs.get(job.id).finished_at == EPOCH
    assert [errand.topic for errand in outbox.undelivered(job=job.ref)] == [outbox.CLEAN_UP]


def test_a_dispatcher_that_begins_notes_when() -> None:
    job = job_in("PENDING")
    transitions.start(job.ref, EPOCH)
    assert Job.objects.get(pk=job.id).started_at == EPOCH


@pytest.mark.django_db(transaction=True)
def test_of_finishers_at_once_one_writes_one_certificate(at_once: AtOnce) -> None:
    for _ in range(5):
        job = job_in("STARTED")
        decisions = [SUCCESS, FAILURE, REVOKED, SUCCESS]
        won = at_once([lambda ref=job.ref, decision=decision: finish(ref, decision) for decision in decisions])
        assert won.count(True) == 1
        assert footprints(job) == (decisions[won.index(True)].status, 1, 1, 1)


@pytest.mark.django_db(transaction=True)
def test_cancelling_and_finishing_at_once_agree(at_once: AtOnce) -> None:
    for _ in range(5):
        job = job_in("STARTED")
        calls = [
            lambda ref=job.ref: transitions.begin_cancel(ref, "asked", EPOCH),
            lambda ref=job.ref: finish(ref, SUCCESS),
        ]
        cancelling, finished = at_once(calls)
        assert cancelling != finished
        assert jobs.get(job.id).status == ("CANCELING" if cancelling else "SUCCESS")


@pytest.mark.django_db(transaction=True)
def test_the_last_result_and_giving_up_at_once_agree(at_once: AtOnce) -> None:
    for _ in range(5):
        job = job_in("STARTED", done=False)
        calls = [
            lambda job=job: bool(ledger.account(job.id, [Outcome(0, None, {})], EPOCH)),
            lambda job=job: finish(job.ref, given_up(OPEN, "nobody works"), OPEN),
        ]
        accounted, gone = at_once(calls)
        assert accounted
        assert jobs.get(job.id).status == ("REVOKED" if gone else "STARTED")
        assert finish(job.ref, SUCCESS) != gone


def test_a_retry_is_the_next_run_which_nothing_has_happened_to() -> None:
    job = job_in("STARTED")
    finish(job.ref, FAILURE)
    assert transitions.retry(job.ref, 0, Event("job.retried", "asked"), EPOCH)
    row = Job.objects.get(pk=job.id)
    assert (row.run, row.status, row.set_aside) == (2, "CREATED", 0)
    assert (row.started_at, row.published_at, row.finished_at) == (None, None, None)
    assert [(errand.topic, errand.job) for errand in outbox.undelivered(job=JobRef(job.id, 2))] == [
        (outbox.DISPATCH, JobRef(job.id, 2))
    ]
    assert [certificate.run for certificate in jobs.certificates(job.id)] == [1]


@pytest.mark.django_db(transaction=True)
def test_of_retries_at_once_one_starts_the_next_run(at_once: AtOnce) -> None:
    for _ in range(5):
        job = job_in("FAILURE")
        retries = [lambda ref=job.ref: MOVES[JobState.CREATED](ref)] * 4
        assert at_once(retries).count(True) == 1
        assert (jobs.get(job.id).run, *footprints(job)) == (2, "CREATED", 1, 0, 1)


@pytest.mark.parametrize("state", JobState)
def test_only_a_run_that_stands_where_it_is_said_to_is_held(state: JobState) -> None:
    job = job_in(state)
    with transaction.atomic():
        assert transitions.hold(job.ref, {state})
        assert not transitions.hold(job.ref, set(JobState) - {state})
        assert not transitions.hold(JobRef(job.id, 2), set(JobState))
