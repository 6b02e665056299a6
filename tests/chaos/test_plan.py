"""A plan is drawn from its seed alone, and promises nothing that the faults in it could spoil."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount.domain.states import JobState
from headcount.testing.chaos.plan import (
    _COSTLY,
    _DRAWN_LAST,
    _OF_DISPATCHER,
    _OF_WEB,
    MOST_COSTLY,
    MOST_FAULTS,
    Capabilities,
    Place,
    Plan,
    Trouble,
    Word,
    plan,
    plans,
)
from headcount.testing.faults import Fault
from tests.chaos.grounds import fault, planned

SEEDS = st.integers(0, 2**40)
TASKS = st.integers(1, 60)
CAPABILITIES = st.builds(Capabilities, st.frozensets(st.sampled_from(Trouble)), st.frozensets(st.sampled_from(Word)))


@given(SEEDS, TASKS, CAPABILITIES)
def test_the_same_seed_gives_the_same_plan(seed: int, tasks: int, can: Capabilities) -> None:
    assert plan(seed, tasks, can) == plan(seed, tasks, can)


def test_another_process_draws_the_same_plan() -> None:
    """Sets of words come out in another order there, which must not show."""
    program = "from headcount.testing.chaos.plan import plan; print([plan(seed, 20) for seed in range(50)])"
    said = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": salt}, capture_output=True, text=True, check=True
        ).stdout
        for salt in ("1", "2", "3")
    }
    assert said == {f"{[plan(seed, 20) for seed in range(50)]}\n"}


@given(SEEDS, TASKS, CAPABILITIES)
def test_a_plan_holds_what_it_may_and_nothing_else(seed: int, tasks: int, can: Capabilities) -> None:
    drawn = plan(seed, tasks, can)
    assert len(drawn.words) == tasks
    assert {fault.trouble for fault in drawn.faults} <= can.troubles
    assert set(drawn.words) <= can.words | {Word.NOTE}
    assert len(drawn.faults) <= MOST_FAULTS + len(_DRAWN_LAST)
    assert sum(fault.trouble in _COSTLY for fault in drawn.faults) <= MOST_COSTLY
    assert [fault.after for fault in drawn.faults] == sorted(fault.after for fault in drawn.faults)
    assert all(0 <= fault.after < tasks and 1 <= fault.size <= max(4, drawn.batch) for fault in drawn.faults)


@given(SEEDS, TASKS)
def test_a_job_is_never_over_before_it_is_cancelled(seed: int, tasks: int) -> None:
    drawn = plan(seed, tasks)
    for cancel in (one for one in drawn.faults if one.trouble is Trouble.CANCEL):
        assert cancel.after == 0 or cancel.after + 3 * drawn.batch <= tasks


@given(SEEDS, TASKS)
def test_a_broker_that_is_away_changes_nothing_else_of_what_a_seed_gives(seed: int, tasks: int) -> None:
    drawn, without = plan(seed, tasks), plan(seed, tasks, Capabilities(frozenset(Trouble) - {Trouble.CUT_BROKER}))
    others = tuple(fault for fault in drawn.faults if fault.trouble is not Trouble.CUT_BROKER)
    assert replace(drawn, faults=others) == without


def test_brokers_are_away_while_jobs_are_submitted_and_later() -> None:
    cuts = [fault for seed in range(200) for fault in plan(seed, 12).faults if fault.trouble is Trouble.CUT_BROKER]
    assert {bool(cut.after) for cut in cuts} == {False, True}


def test_every_trouble_place_and_word_is_drawn_by_some_seed_of_the_two_hundred() -> None:
    drawn = [plan(seed, 12) for seed in range(200)]
    faults = [fault for one in drawn for fault in one.faults]
    assert {fault.trouble for fault in faults} == set(Trouble)
    assert {fault.place for fault in faults} == {None, *_OF_WEB, *_OF_DISPATCHER}
    assert {word for one in drawn for word in one.words} == set(Word)
    assert {one.status for one in drawn} == {JobState.SUCCESS, JobState.FAILURE, JobState.REVOKED}


@pytest.mark.parametrize(
    ("failing", "faults", "status"),
    [
        (0, (), "SUCCESS"),
        (3, (), "SUCCESS"),
        (4, (), "FAILURE"),
        (6, (), "FAILURE"),
        (0, (fault(Trouble.CANCEL),), "REVOKED"),
        (6, (fault(Trouble.CANCEL),), "REVOKED"),
        (0, (fault(Trouble.LOSE_STATE),), "SUCCESS"),
    ],
)
@pytest.mark.parametrize("word", [Word.ERROR, Word.POISON, Word.SILENCE])
def test_the_plan_knows_how_the_job_must_end(failing: int, faults: tuple, status: str, word: Word) -> None:
    drawn = planned(*faults, words=(word,) * failing + (Word.NOTE,) * (6 - failing))
    assert drawn.status == status
    assert (len(drawn.to_fail), len(drawn.to_be_saved)) == (failing, 6 - failing)
    assert not drawn.to_fail & drawn.to_be_saved


def test_jobs_beside_each_other_have_plans_of_their_own_and_the_first_is_that_of_the_seed() -> None:
    drawn = plans(7, 3, 20)
    assert drawn[0] == plan(7, 20)
    assert len({one.seed for one in drawn}) == len({one.words for one in drawn}) == 3


def test_a_plan_without_tasks_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one task"):
        plan(1, 0)


def test_a_fault_says_in_words_what_it_is() -> None:
    said = str(fault(Trouble.KILL_WEB, place=Place("state.account", Fault.DIED_BEFORE)))
    assert said == "after 2 tasks: a web process is killed before state.account"
    assert str(Place("queue.claim", Fault.DIED_AFTER)) == "after queue.claim"


def test_a_plan_as_json_names_its_faults() -> None:
    shown = Plan(3, (Word.NOTE,), 1, (fault(Trouble.LOSE_QUEUE, after=0),)).as_json()
    assert (shown["seed"], shown["words"], shown["status"]) == (3, ["NOTE"], "SUCCESS")
    assert shown["faults"][0]["trouble"] == "LOSE_QUEUE"
