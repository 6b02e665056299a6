"""Turns: one repairer for each run at a time, in whatever process, and none for ever."""

from datetime import timedelta

import pytest

from headcount.domain.records import JobRef
from headcount.models import RepairTurn
from headcount.store import turns
from headcount.testing.factories import EPOCH
from tests.flow.threads import at_once

JOB = JobRef(1, 1)


@pytest.mark.django_db
def test_a_turn_that_is_taken_is_refused_until_it_is_given_back() -> None:
    with turns.taking(JOB, EPOCH) as mine:
        with turns.taking(JOB, EPOCH) as theirs, turns.taking(JobRef(1, 2), EPOCH) as of_another_run:
            assert (mine, theirs, of_another_run) == (True, False, True)
        with turns.taking(JOB, EPOCH) as still_theirs:
            assert not still_theirs, "who was refused gives nothing back"
    with turns.taking(JOB, EPOCH) as again:
        assert again
    assert not RepairTurn.objects.exists()


@pytest.mark.django_db
def test_a_turn_is_given_back_by_a_repair_that_fails() -> None:
    with pytest.raises(ValueError, match="broken"), turns.taking(JOB, EPOCH):
        raise ValueError("broken")
    assert not RepairTurn.objects.exists()


@pytest.mark.django_db
def test_the_turn_of_a_process_that_died_ends_by_itself() -> None:
    RepairTurn.objects.create(job_id=1, run=1, held_until=EPOCH + turns.LONGEST)
    with turns.taking(JOB, EPOCH + turns.LONGEST) as early:
        assert not early
    with turns.taking(JOB, EPOCH + turns.LONGEST + timedelta(seconds=1)) as late:
        assert late


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_has_the_turn() -> None:
    inside: list[bool] = []
    concurrent: list[int] = []

    def take() -> None:
        with turns.taking(JOB, EPOCH) as mine:
            if mine:
                inside.append(True)
                concurrent.append(len(inside))
                inside.pop()

    for _ in range(5):
        at_once([take] * 6)
    assert set(concurrent) == {1}
    assert len(concurrent) >= 5
