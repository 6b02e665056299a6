"""Progress rows only ever rise, whoever writes in whatever order."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from headcount.domain.records import JobProgress, StageProgress
from headcount.domain.states import Stage
from headcount.models import JobStage
from headcount.store import progress
from headcount.testing.factories import EPOCH, make_job
from tests.store.conftest import AtOnce

pytestmark = pytest.mark.django_db
TOTAL = 20
WRITES = st.lists(
    st.lists(
        st.builds(StageProgress, st.sampled_from(Stage), st.sampled_from([None, TOTAL]), *[st.integers(0, 10)] * 2),
        max_size=3,
        unique_by=lambda item: item.stage,
    ),
    max_size=8,
)


class TestAnyOrder(TestCase):
    """Hypothesis needs a transaction for each of its examples."""

    @settings(max_examples=60, deadline=None)
    @given(WRITES)
    def test_what_is_written_is_the_highest_of_each(self, writes: list[list[StageProgress]]) -> None:
        job = make_job()
        highest: dict[Stage, StageProgress] = {}
        for stages in writes:
            progress.write(job.ref, stages, EPOCH)
            for item in stages:
                held = highest.get(item.stage, item)
                done, failed = max(held.done, item.done), max(held.failed, item.failed)
                highest[item.stage] = StageProgress(item.stage, item.total or held.total, done, failed)
            assert progress.of(job.id) == JobProgress(tuple(highest[stage] for stage in Stage if stage in highest))


def test_a_job_without_rows_has_no_progress() -> None:
    job = make_job()
    assert progress.of(job.id) == JobProgress()
    assert progress.last_moved_at(job.id) is None
    assert progress.named_counts(job.id) == {}


def test_only_progress_moves_the_time() -> None:
    job = make_job()
    for minute, done in enumerate([1, 1, 0, 2]):
        progress.write(job.ref, [StageProgress(Stage.PROCESS, 5, done)], EPOCH + timedelta(minutes=minute))
    assert progress.last_moved_at(job.id) == EPOCH + timedelta(minutes=3)
    progress.write(job.ref, [StageProgress(Stage.PROCESS, 5, 1)], EPOCH + timedelta(hours=1))
    assert progress.last_moved_at(job.id) == EPOCH + timedelta(minutes=3)


def test_counts_above_the_total_are_refused() -> None:
    job = make_job()
    progress.write(job.ref, [StageProgress(Stage.PROCESS, 3, 2, 1)], EPOCH)
    with pytest.raises(IntegrityError, match="headcount_stage_counts_within_total"), transaction.atomic():
        progress.write(job.ref, [StageProgress(Stage.PROCESS, 3, 3, 1)], EPOCH)
    assert progress.of(job.id).stage(Stage.PROCESS) == StageProgress(Stage.PROCESS, 3, 2, 1)


def test_a_row_that_cannot_be_true_is_replaced_by_what_is_given() -> None:
    job = make_job()
    progress.write(job.ref, [StageProgress(Stage.PROCESS, 3, 3)], EPOCH)
    assert progress.write(job.ref, [StageProgress(Stage.PROCESS, 3, 2, 1)], EPOCH)
    assert progress.of(job.id).stage(Stage.PROCESS) == StageProgress(Stage.PROCESS, 3, 2, 1)


def test_a_write_says_whether_it_changed_anything() -> None:
    job = make_job()
    writes = [(None, 1), (None, 1), (5, 1), (5, 0), (None, 0), (5, 2), (5, 2)]
    said = [progress.write(job.ref, [StageProgress(Stage.PROCESS, *write)], EPOCH) for write in writes]
    assert said == [True, False, True, False, False, True, False]


def test_jobs_do_not_share_progress() -> None:
    one, other = make_job(), make_job()
    progress.write(one.ref, [StageProgress(Stage.COLLECT, 2, 2)], EPOCH)
    assert progress.of(other.id) == JobProgress()


def test_named_counts_stand_with_the_results() -> None:
    job = make_job()
    progress.write_named_counts(job.id, {"lost": 1})
    progress.write(job.ref, [StageProgress(stage, 2) for stage in Stage], EPOCH)
    progress.write_named_counts(job.id, {"detections": 3})
    assert progress.named_counts(job.id) == {"detections": 3}
    assert JobStage.objects.get(job_id=job.id, stage="collect").counts == {}


@pytest.mark.django_db(transaction=True)
def test_many_writers_at_once_leave_the_highest(at_once: AtOnce) -> None:
    job = make_job()
    orders = [list(Stage), list(reversed(Stage))] * 4
    at_once(
        [
            lambda number=number, order=order: [
                progress.write(job.ref, [StageProgress(stage, 100, done) for stage in order], EPOCH)
                for done in range(number, 40, 8)
            ]
            for number, order in enumerate(orders)
        ]
    )
    assert [stage.done for stage in progress.of(job.id).stages] == [39, 39, 39]
