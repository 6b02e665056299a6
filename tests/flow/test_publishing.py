"""Publishing: portion by portion, the first one small so that workers begin with it."""

from unittest.mock import patch

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from headcount.flow import publish
from headcount.flow.run_job import run_job
from headcount.store import jobs
from tests.flow.given import claimed, submitted


@settings(deadline=None)
@drawn(number=st.integers(0, 3000), size=st.integers(1, 3000))
def test_portions_hold_every_task_once_and_in_order_and_the_first_is_small(number, size):
    ordinals = range(7, 7 + number)
    with patch.object(publish, "CHUNK", size):
        portions = list(publish.chunks(ordinals))
    assert [ordinal for portion in portions for ordinal in portion] == list(ordinals)
    assert all(0 < len(portion) <= size for portion in portions)
    assert len(portions[0] if portions else ()) <= 250


@pytest.mark.django_db
def test_workers_begin_with_the_first_portion_while_the_rest_is_put_in(deployment, monkeypatch):
    monkeypatch.setattr(publish, "_FIRST_CHUNK", 3)
    job = submitted(deployment, 8)
    handed_out = []

    def look():
        if (depth := deployment.queue.depth(job.ref)).pending:
            handed_out.append(
                [task.task.ordinal for task in claimed(deployment, jobs.get(job.id), limit=depth.pending)]
            )

    run_job(deployment, job.ref, checkpoint=look)
    assert handed_out == [[0, 1, 2], [3, 4, 5, 6, 7]]
