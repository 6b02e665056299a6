"""The check is checked: an engine that is broken on purpose is found out, and so is every single fact that is off."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.db.models import Q

from headcount.cli import chaos_runs
from headcount.domain.records import Event, JobProgress, JobRecord, StageProgress
from headcount.domain.states import JobState, Stage, TaskState
from headcount.domain.verdict import Verdict
from headcount.flow import account as account_flow
from headcount.flow import finalise as finalise_flow
from headcount.health import loop
from headcount.models import Task
from headcount.ports.job_kind import SavedResult
from headcount.store import events, jobs, ledger, progress
from headcount.testing.chaos.check import Facts, check, look
from headcount.testing.chaos.ground import Ground
from headcount.testing.chaos.plan import Capabilities, Plan, Trouble, Word, plan
from headcount.testing.chaos.run import Outcome, run
from headcount.testing.kinds import NoteKind
from headcount.testing.memory import MemoryStateManager, MemoryTaskQueue
from tests.chaos.grounds import fault, memory_ground, planned

pytestmark = pytest.mark.django_db(transaction=True)

SEEDS, TASKS = 12, 10


def found_out(ground: Callable[[], Ground], plans: Sequence[Plan] | None = None) -> str:
    """Run plans, each on a ground of its own; returns every offence that the check complains of."""
    outcomes = [outcome for one in plans or seeded() for outcome in run(ground(), [one])]
    return "\n".join(offence for outcome in outcomes for offence in outcome.offences)


def seeded() -> list[Plan]:
    return [plan(seed, TASKS) for seed in range(SEEDS)]


# Engines that are broken on purpose


class CountsTwice(NoteKind):
    def save(self, job: JobRecord, results: Sequence[SavedResult]) -> None:
        super().save(job, results)
        super().save(job, results[:1])


class LosesOne(NoteKind):
    def save(self, job: JobRecord, results: Sequence[SavedResult]) -> None:
        super().save(job, results[1:] if len(results) > 1 else results)


class SwallowsPoison(NoteKind):
    def save(self, job: JobRecord, results: Sequence[SavedResult]) -> None:
        super().save(job, [result for result in results if "poison" not in result.result])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (CountsTwice, "results are there more than once: k"),
        (LosesOne, "results are lost: k"),
        (SwallowsPoison, "are saved and should not be"),
    ],
)
def test_a_kind_that_saves_wrongly_is_found_out(kind: type[NoteKind], words: str) -> None:
    assert words in found_out(lambda: memory_ground(kind()))


def test_counting_a_duplicate_again_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a result that was saved already are written once more, as without the open-task rule."""
    honest = account_flow.save

    def saves_again(deployment: Any, job: JobRecord, outcomes: Sequence[Any]) -> Any:
        saved = honest(deployment, job, outcomes)
        again = [SavedResult(task.task_id, task.ordinal, task.key, {"note": "again"}) for task in saved.behind]
        NoteKind().save(job, [result for task, result in zip(saved.behind, again, strict=True) if not task.failed])
        return saved

    monkeypatch.setattr(account_flow, "save", saves_again)
    assert "results are there more than once: k" in found_out(memory_ground)


def test_absence_that_reads_as_completion_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the state manager knows nothing of a run, the job is taken for finished and its tasks written off."""

    def tick(deployment: Any) -> None:
        for job in jobs.running():
            if deployment.state.all_tasks_processed(job.ref) is None:
                ledger.cancel_open(job.id, deployment.clock())
                finalise_flow.finalise(deployment, job.ref)

    monkeypatch.setattr("headcount.testing.chaos.ground.jobs_health_check", tick)
    said = found_out(memory_ground, [planned(fault(Trouble.KILL_WORKER), fault(Trouble.LOSE_STATE, after=4))])
    assert "are cancelled though nobody cancelled the job" in said


def test_a_job_that_is_revoked_for_a_witness_that_forgot_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the incident: what cannot be proved to be done is given up."""

    def tick(deployment: Any) -> None:
        for job in jobs.running():
            if deployment.state.all_tasks_processed(job.ref) is not True:
                finalise_flow.give_up(deployment, job.ref, "stalled")

    monkeypatch.setattr("headcount.testing.chaos.ground.jobs_health_check", tick)
    assert "the job is REVOKED where it must be SUCCESS" in found_out(memory_ground)


def test_a_verdict_that_forgives_everything_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalise_flow, "verdict", lambda *_: Verdict(JobState.SUCCESS, "all fine", "it is always fine"))
    said = found_out(memory_ground, [planned(words=(Word.ERROR,) * 4)])
    assert "the job is SUCCESS where it must be FAILURE" in said
    assert "the audit says" in said


def test_a_queue_that_loses_a_task_where_nobody_puts_it_in_again_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headcount.testing.chaos.ground.jobs_health_check", lambda deployment: None)
    said = found_out(memory_ground, [planned(fault(Trouble.LOSE_QUEUE))])
    assert "tasks are still open" in said
    assert "the job is STARTED where it must be SUCCESS" in said


def test_a_post_that_is_answered_before_it_is_saved_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a poster was promised is undone behind its back, as by a transaction that was never committed."""
    honest = account_flow.save

    def forgets(deployment: Any, job: JobRecord, outcomes: Sequence[Any]) -> Any:
        saved = honest(deployment, job, outcomes)
        first = [task.task_id for task in saved.newly if not task.failed][:1]
        rows = Task.objects.filter(pk__in=first)
        rows.update(state=TaskState.FAILED, error="nobody knows")
        return saved

    monkeypatch.setattr(account_flow, "save", forgets)
    said = found_out(memory_ground, [planned()])
    assert "posters were told that these are saved: k0" in said


def test_progress_that_nobody_writes_down_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "write", lambda *_: False)
    assert "the progress of results says 0 done and 0 failed" in found_out(memory_ground, [planned()])


def test_an_engine_that_is_never_told_to_forget_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStateManager, "clean_up", lambda *_: None)
    monkeypatch.setattr(MemoryTaskQueue, "remove", lambda *_: None)
    said = found_out(memory_ground, [planned(fault(Trouble.CANCEL))])
    assert "the state manager still counts for a job that ended" in said
    assert "the queue still holds" in said


def test_a_job_that_ends_twice_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def tick(deployment: Any) -> None:
        loop.jobs_health_check(deployment)
        for job in jobs.find(Q(), limit=10):
            events.append(job.ref, Event("job.finished", "once more"), deployment.clock())

    monkeypatch.setattr("headcount.testing.chaos.ground.jobs_health_check", tick)
    assert "times that it ended" in found_out(memory_ground, [planned()])


def test_an_honest_engine_is_not_complained_of() -> None:
    assert found_out(memory_ground) == ""


# Facts of which one is off

PLAN = planned(words=(Word.NOTE, Word.NOTE, Word.NOTE, Word.ERROR))


@pytest.fixture
def facts() -> Facts:
    ground = memory_ground()
    (outcome,) = run(ground, [PLAN])
    assert isinstance(outcome, Outcome)
    seen = look(ground.whole, outcome.job_id, frozenset({"k0"}))
    assert check(PLAN, seen) == ()
    return seen


def other_progress(facts: Facts) -> Facts:
    stages = (StageProgress(Stage.PROCESS, 4, 3, 1), StageProgress(Stage.RESULTS, 4, 2, 1))
    return replace(facts, progress=JobProgress(stages))


OFF: dict[str, tuple[Callable[[Facts], Facts], str]] = {
    "status": (lambda facts: replace(facts, job=replace(facts.job, status="REVOKED")), "the job is REVOKED where"),
    "unknown status": (lambda facts: replace(facts, job=replace(facts.job, status="gone")), "the job is gone where"),
    "total": (lambda facts: replace(facts, job=replace(facts.job, task_total=None)), "says it has None tasks of 4"),
    "missing task": (
        lambda facts: replace(facts, states={0: "saved", 1: "saved", 3: "failed"}),
        "the ledger holds 3 tasks of 4",
    ),
    "open task": (lambda facts: replace(facts, states=facts.states | {0: "waiting"}), "1 tasks are still open"),
    "swapped states": (
        lambda facts: replace(facts, states=facts.states | {0: "failed", 3: "saved"}),
        "tasks [0] are failed and should not be",
    ),
    "shared key": (lambda facts: replace(facts, keys=facts.keys | {1: "k0"}), "tasks share a key"),
    "doubled row": (lambda facts: replace(facts, rows={**facts.rows, "k1": 2}), "more than once: k1"),
    "lost row": (lambda facts: replace(facts, rows={"k0": 1, "k1": 1}), "results are lost: k2"),
    "stray row": (lambda facts: replace(facts, rows={**facts.rows, "k3": 1}), "that are not saved: k3"),
    "broken promise": (lambda facts: replace(facts, promised=frozenset({"k3"})), "were told that these are saved: k3"),
    "no certificate": (lambda facts: replace(facts, certificates=()), "there are 0 certificates"),
    "two certificates": (lambda facts: replace(facts, certificates=facts.certificates * 2), "there are 2 certificates"),
    "ended twice": (lambda facts: replace(facts, finished=2), "the log says 2 times that it ended"),
    "other certificate": (
        lambda facts: replace(facts, certificates=(replace(facts.certificates[0], status=JobState.FAILURE),)),
        "the certificate says FAILURE, the job SUCCESS",
    ),
    "progress": (other_progress, "the progress of results says 2 done and 1 failed"),
    "no progress": (lambda facts: replace(facts, progress=JobProgress()), "the progress of process says 0 done"),
    "audit": (lambda facts: replace(facts, offences=("something",)), "the audit says: something"),
    "remembered": (lambda facts: replace(facts, remembered=("the queue still holds 1",)), "the queue still holds 1"),
}


@pytest.mark.parametrize("what", OFF)
def test_a_single_fact_that_is_off_is_found_out(facts: Facts, what: str) -> None:
    spoil, words = OFF[what]
    assert words in "\n".join(check(PLAN, spoil(facts)))


def test_a_cancelled_job_may_leave_tasks_undone_but_none_done_wrongly(facts: Facts) -> None:
    cancelled = planned(fault(Trouble.CANCEL), words=PLAN.words)
    job = replace(facts.job, status="REVOKED")
    states = {0: "saved", 1: "cancelled", 2: "cancelled", 3: "cancelled"}
    undone = replace(facts, job=job, states=states, rows={"k0": 1})
    certificate = replace(facts.certificates[0], status=JobState.REVOKED, counts=undone.counts)
    stages = tuple(StageProgress(stage, 4, 1, 0) for stage in (Stage.PROCESS, Stage.RESULTS))
    undone = replace(undone, certificates=(certificate,), progress=JobProgress(stages))
    assert check(cancelled, undone) == ()
    wrongly = replace(undone, states=states | {3: "saved"})
    assert "tasks [3] are saved and should not be" in "\n".join(check(cancelled, wrongly))


def test_the_command_exits_1_and_says_what_replays_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chaos_runs, "throw_away_ground", lambda: (memory_ground(LosesOne()), Capabilities()))
    monkeypatch.setattr(chaos_runs, "_keep_warnings_out", lambda: None)
    said = {"runs": 12, "jobs": 1, "tasks": TASKS, "here": False}
    assert chaos_runs.run_all(seed=0, as_json=False, **said) is False
    lines = capsys.readouterr().out.splitlines()
    wrong = next(line for line in lines if line.startswith("WRONG seed "))
    seed = wrong.removeprefix("WRONG seed ").partition(":")[0]
    assert f"      replay it: headcount chaos --seed {seed} --runs 1 --jobs 1 --tasks {TASKS}" in lines
    assert any("results are lost: k" in line for line in lines)
    assert any(line.startswith("      fault after ") for line in lines)
    assert lines[-1].endswith("not as they must be")
    assert chaos_runs.run_all(seed=0, as_json=True, **said) is False
    assert not all(json.loads(line)["held"] for line in capsys.readouterr().out.splitlines())
