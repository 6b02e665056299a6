"""Dispatchers as processes of their own, several at once or killed on their way.

``python -m tests.distributed.dispatches EXPERIMENT TASKS`` works on the deployment of the environment and prints a line
of JSON for each job: its id and how often a dispatcher of it was killed, or two of them met. Processes are forked
before anything is connected.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import count
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from unittest.mock import patch

import django

django.setup()

import headcount.engines.redis.state  # noqa: E402, F401 - loaded once, before the first fork
from headcount import wiring  # noqa: E402
from headcount.domain.records import JobRef  # noqa: E402
from headcount.domain.states import DispatchMode  # noqa: E402
from headcount.engines.nats.queue import NatsTaskQueue  # noqa: E402
from headcount.flow import collect, publish  # noqa: E402
from headcount.flow.run_job import run_job  # noqa: E402
from headcount.flow.submit import JobRequest, submit  # noqa: E402
from headcount.ports.dispatcher import Checkpoint, never_interrupted  # noqa: E402
from headcount.store import ledger  # noqa: E402
from tests.distributed.faults import Faults, Gap  # noqa: E402
from tests.distributed.pushing import SLUG as PUSHED  # noqa: E402
from tests.flow.given import SLUG, collection, project  # noqa: E402

STEPS = 10
COLLECTION = "dispatched"
PATIENCE_SECONDS = 30
GAPS = (Gap.BETWEEN_TOTAL_AND_STATE, Gap.BETWEEN_STATE_AND_PUBLICATION, Gap.BETWEEN_PUBLICATION_AND_NOTE)


def main() -> None:
    what, tasks = sys.argv[1], int(sys.argv[2])
    collect.CHUNK = publish.CHUNK = tasks // STEPS
    in_a_process(lambda: collection(project(), tasks, COLLECTION))
    for job_id, times in EXPERIMENTS[what]():
        print(json.dumps({"job_id": job_id, "times": times}), flush=True)


def killed_at_each_checkpoint() -> Iterator[tuple[int, int]]:
    """A job for each checkpoint, and one more: its dispatcher is killed there, and another takes it up."""
    for number, job_id in enumerate(submitted(2 * (STEPS + 1) + 1), start=1):
        killed = in_a_process(partial(dispatch, job_id, killing_at(number)))
        yield job_id, killed + in_a_process(partial(dispatch, job_id))


def killed_again_and_again() -> Iterator[tuple[int, int]]:
    """One job whose dispatchers are killed one after the other, each one step further than the one before."""
    (job_id,), killed = submitted(1), 0
    while in_a_process(partial(dispatch, job_id, killing_at(killed + 1))):
        killed += 1
    yield job_id, killed


def killed_inside_each_portion() -> Iterator[tuple[int, int]]:
    """One job whose dispatchers are killed inside one portion after the other: half written, or half published."""
    (job_id,), killed = submitted(1), 0
    for place, name in ((ledger, "collect"), (NatsTaskQueue, "publish")):
        for portion in range(STEPS):
            killed += in_a_process(partial(dispatch_dying, job_id, place, name, portion))
    yield job_id, killed + in_a_process(partial(dispatch, job_id))


def killed_in_each_gap() -> Iterator[tuple[int, int]]:
    """A job for each gap between two engines: its dispatcher dies there, and another takes it up."""
    faults = Faults(Path(os.environ["HEADCOUNT_TEST_FAULTS"]))
    for gap, job_id in zip(GAPS, submitted(len(GAPS)), strict=True):
        faults.arm(gap)
        killed = in_a_process(partial(dispatch, job_id))
        yield job_id, killed + in_a_process(partial(dispatch, job_id))


def two_at_once() -> Iterator[tuple[int, int]]:
    """Jobs that two dispatchers run at once: some side by side at each step, others as fast as they can from the first.

    They meet before the first portion is collected and before the last is published, and at all steps between.
    """
    for number, job_id in enumerate(submitted(STEPS)):
        yield job_id, together(job_id, meetings=1 if number % 2 else 2 * (STEPS + 1))


def two_pushing_at_once() -> Iterator[tuple[int, int]]:
    """A job that two dispatchers collect and push to a service at once, side by side at each step."""
    for job_id in submitted(1, DispatchMode.SYNC_API, PUSHED):
        yield job_id, together(job_id, meetings=sys.maxsize)


EXPERIMENTS: dict[str, Callable[[], Iterator[tuple[int, int]]]] = {
    function.__name__: function
    for function in (
        killed_at_each_checkpoint,
        killed_again_and_again,
        killed_inside_each_portion,
        killed_in_each_gap,
        two_at_once,
        two_pushing_at_once,
    )
}


def submitted(number: int, mode: DispatchMode = DispatchMode.ASYNC_API, pipeline: str = SLUG) -> list[int]:
    """Submit jobs, in another process; no dispatcher but ours looks at them."""
    reading, writing = os.pipe()

    def work() -> None:
        request = JobRequest(project(), "ml", mode, pipeline, config={"collection": COLLECTION})
        made = [submit(wiring.deployment(), request).id for _ in range(number)]
        os.write(writing, json.dumps(made).encode())

    in_a_process(work)
    os.close(writing)
    with closing(os.fdopen(reading)) as pipe:
        made: list[int] = json.load(pipe)
    return made


def dispatch(job_id: int, checkpoint: Checkpoint = never_interrupted) -> None:
    run_job(wiring.deployment(), JobRef(job_id, 1), checkpoint)


def dispatch_dying(job_id: int, place: object, name: str, portion: int) -> None:
    """Dispatch until so many portions went through a function; of the next one it does half before the end."""
    whole, called = getattr(place, name), count()

    def dying(*arguments: Any) -> Any:
        if next(called) == portion:
            *others, items = arguments
            whole(*others, items[: len(items) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments)

    with patch.object(place, name, dying):
        dispatch(job_id)


def killing_at(number: int) -> Checkpoint:
    """A checkpoint that kills its own process when it is passed for the ``number``-th time."""
    left = iter(range(number - 1, -1, -1))

    def checkpoint() -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return checkpoint


def together(job_id: int, meetings: int) -> int:
    """Run two dispatchers of a job that wait for each other at their first checkpoints; returns how often they met.

    One that comes to a checkpoint and waits in vain for the other ends with an error.
    """
    forked = get_context("fork")
    met = forked.Value("i", 0)
    barrier = forked.Barrier(2, action=partial(count_up, met), timeout=PATIENCE_SECONDS)
    for pid in [started(partial(dispatch, job_id, meeting_at(barrier, meetings))) for _ in range(2)]:
        was_killed(pid)
    return met.value


def count_up(counter: "Synchronized[int]") -> None:
    counter.value += 1


def meeting_at(barrier: Barrier, times: int) -> Checkpoint:
    """A checkpoint that waits for another process at the barrier, the first so many times it is passed."""
    left = iter(range(times))

    def checkpoint() -> None:
        if next(left, None) is not None:
            barrier.wait()

    return checkpoint


def in_a_process(work: Callable[[], object]) -> bool:
    """Do work in a process of its own; returns whether it was killed."""
    return was_killed(started(work))


def started(work: Callable[[], object]) -> int:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def was_killed(pid: int) -> bool:
    """Wait for a process; whatever ends it but a kill is an error."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in {0, -signal.SIGKILL}:
        raise SystemExit(f"a dispatcher ended with code {code}")
    return code != 0


if __name__ == "__main__":
    main()
