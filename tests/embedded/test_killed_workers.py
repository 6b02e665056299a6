"""A worker that dies takes nothing with it."""

from pathlib import Path

import pytest

from headcount.testing.waiting import wait_until
from tests.embedded.accounts import assert_exact
from tests.embedded.conftest import Gate
from tests.embedded.system import System

pytestmark = pytest.mark.process

IMAGES = 12
HELD = 6
"""What a worker with batches of four holds while it does its third image: two of its batch, four prefetched."""


def attempts(system: System, job: int) -> dict[int, int]:
    return dict(system.rows("SELECT ordinal, attempts FROM headcount_task WHERE job_id = ?", job))


def held(system: System, job: int) -> set[int]:
    rows = system.rows("SELECT ordinal FROM headcount_task WHERE job_id = ? AND state = 'leased'", job)
    return {ordinal for (ordinal,) in rows}


def test_the_tasks_of_a_worker_killed_in_mid_batch_come_back_after_their_lease(
    system: System, gate: Gate, tmp_path: Path
) -> None:
    system.serve(HEADCOUNT_ACK_WAIT="2")
    job = system.detection_job_of(tmp_path / "photos", IMAGES)
    gate.allow(2)
    system.worker(gate.folder, "first")
    wait_until(lambda: system.states(job) == {"saved": 2, "leased": HELD, "waiting": 4}, "it is in mid-batch")
    system.processes.kill("first")
    lost = held(system, job)
    assert len(lost) == HELD, "they stay leased until the lease ends"
    gate.open()
    system.worker(gate.folder, "second")
    assert_exact(system, job, IMAGES)
    assert attempts(system, job) == {ordinal: 1 + (ordinal in lost) for ordinal in range(IMAGES)}
    assert len(gate.computed()) == IMAGES, "what was saved before the kill was not done again"
