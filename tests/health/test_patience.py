"""The rule of patience, over everything that can be seen at a look; no database."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount.domain.patience import Watch
from headcount.domain.records import JobRef
from headcount.health.patience import Sighting, aged

JOB = JobRef(7, 1)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
STEP = timedelta(seconds=120)
NONE = timedelta(0)

spans = st.timedeltas(min_value=NONE, max_value=timedelta(days=400))
marks = st.none() | st.sampled_from(["", "1", "2"])
sightings = st.builds(
    Sighting, job=st.just(JOB), mark=marks, all_answered=st.booleans(), is_served=st.none() | st.booleans()
)
watches = st.builds(
    Watch,
    job=st.just(JOB),
    watched_at=st.timedeltas(min_value=-timedelta(days=30), max_value=timedelta(days=30)).map(lambda ago: NOW - ago),
    mark=st.sampled_from(["", "1", "2"]),
    moved_at=spans.map(lambda ago: NOW - ago),
    idle=spans,
    unserved=spans,
)


def watch(ago: timedelta, mark: str = "1") -> Watch:
    return Watch(JOB, NOW - ago, mark, NOW - timedelta(hours=1), timedelta(minutes=3), timedelta(minutes=5))


PASSED = {
    "a moment": (timedelta(seconds=50), timedelta(seconds=50)),
    "a step": (STEP, STEP),
    "a night": (timedelta(hours=9), STEP),
    "no time": (NONE, NONE),
    "a clock that was set back": (-timedelta(hours=1), NONE),
}


@pytest.mark.parametrize("passed", PASSED)
@pytest.mark.parametrize(("mark", "all_answered", "is_served"), list(product(["1", "2", None], [0, 1], [None, 0, 1])))
def test_every_look_at_a_run_that_is_known(passed: str, mark: str | None, all_answered: int, is_served: int | None):
    ago, counts = PASSED[passed]
    before = watch(ago)
    seen = Sighting(JOB, mark, bool(all_answered), None if is_served is None else bool(is_served))
    after = aged(before, seen, NOW, STEP)
    counted = counts if all_answered else NONE
    moved = mark == "2"
    assert after.idle == (NONE if moved else before.idle + counted)
    assert after.moved_at == (NOW if moved else before.moved_at)
    assert after.mark == ("2" if moved else "1")
    assert after.unserved == {None: before.unserved, 0: before.unserved + counted, 1: NONE}[is_served]
    assert (after.job, after.watched_at) == (JOB, NOW)


@pytest.mark.parametrize("before", [None, Watch(JobRef(7, 2), NOW, "1", NOW, STEP, STEP)], ids=["first", "another run"])
@pytest.mark.parametrize("mark", ["1", None])
def test_a_run_not_seen_before_begins_anew(before: Watch | None, mark: str | None):
    seen = Sighting(JOB, mark, all_answered=True, is_served=False)
    assert aged(before, seen, NOW, STEP) == Watch(JOB, NOW, mark or "", NOW)


@given(before=watches, seen=sightings)
def test_no_look_counts_more_than_a_step_nor_less_than_nothing(before: Watch, seen: Sighting):
    after = aged(before, seen, NOW, STEP)
    for old, new in ((before.idle, after.idle), (before.unserved, after.unserved)):
        assert new == NONE or old <= new <= old + STEP


@given(before=watches, looks=st.lists(st.tuples(sightings, st.integers(-600, 600)), max_size=12))
def test_silence_ages_nobody_and_progress_forgives_all(before: Watch, looks: list[tuple[Sighting, int]]):
    now, seen_by_us = NOW, before
    for seen, seconds in looks:
        now += timedelta(seconds=seconds)
        after = aged(seen_by_us, seen, now, STEP)
        if not seen.all_answered:
            assert after.idle <= seen_by_us.idle
            assert after.unserved <= seen_by_us.unserved
        if seen.mark not in (None, seen_by_us.mark):
            assert (after.idle, after.moved_at) == (NONE, now)
        else:
            assert after.moved_at == seen_by_us.moved_at
        seen_by_us = after


@given(before=watches, seen=sightings, split=st.integers(0, 100))
def test_looking_more_often_ages_no_faster(before: Watch, seen: Sighting, split: int):
    """Two looks, one after the other, count no more than one look after both, as long as no step is cut short."""
    between = before.watched_at + STEP * split / 100
    end = before.watched_at + STEP
    once = aged(before, seen, end, STEP)
    twice = aged(aged(before, seen, between, STEP), seen, end, STEP)
    assert twice.unserved == once.unserved
    if seen.mark in (None, before.mark):
        assert twice.idle == once.idle
