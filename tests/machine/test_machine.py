"""Any interleaving of claims, posts, duplicates, expiries, crashes, losses and cancels keeps what must never break."""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from headcount.domain.states import STATE_MANAGER_STAGES, DispatchMode, Redo
from headcount.errors import EngineUnavailableError
from headcount.store import jobs
from headcount.testing.faults import Fault, ProcessDied
from tests.machine import invariants, service
from tests.machine.world import RESULTS, Held, World

HEAVY = os.environ.get("HEADCOUNT_HYPOTHESIS_PROFILE") == "heavy"
EXAMPLES, STEPS = (1500, 50) if HEAVY else (60, 25)
PROFILE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    derandomize=not HEAVY,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

CALLS = {
    "queue": ("publish", "claim", "extend", "release", "acknowledge", "reclaim_expired", "depth", "remove"),
    "state": ("initialise", "account", "rebuild_from", "clean_up"),
    "dispatcher": ("enqueue",),
}
CALL = st.sampled_from([(engine, call) for engine, calls in CALLS.items() for call in calls])
PICK = st.integers(0, 15)
WORD = st.sampled_from(["note", "error", "poison", *RESULTS])
POSTS = st.lists(st.tuples(PICK, WORD), min_size=1, max_size=4)
INTERRUPTIONS = st.lists(st.sampled_from(["", "", "", "stop", "die", "fail"]), max_size=6)
THRESHOLD = st.sampled_from([0.0, 0.3, 0.5, 1.0])
FAIL_FAST = st.sampled_from([False, False, True])
MODE = st.sampled_from([DispatchMode.ASYNC_API, DispatchMode.SYNC_API, DispatchMode.INTERNAL])
SECONDS = st.sampled_from([1, 29, 31, 31, 700, -3600])
ACT = st.sampled_from(
    [
        *("post", "claim", "tick", "dispatch", "release", "expire", "flush", "second dispatcher"),
        *("post", "claim", "tick", "cancel", "give up", "retry", "retry all"),
    ]
)
"""What others do in between; those that end a job are few, because little can happen after them."""


def meanwhile(*points: str) -> st.SearchStrategy[list[tuple[str, str, int]]]:
    """What others do while a step is at one of the points it comes through, and with which pick."""
    return st.lists(st.tuples(st.sampled_from(points), ACT, PICK), max_size=2)


def has_jobs(machine: "FlowMachine") -> bool:
    return bool(machine.world.job_ids)


def has_held(machine: "FlowMachine") -> bool:
    return bool(machine.world.held)


def has_pushed(machine: "FlowMachine") -> bool:
    return any(jobs.get(job_id).dispatch_mode is DispatchMode.SYNC_API for job_id in machine.world.job_ids)


class FlowMachine(RuleBasedStateMachine):
    """Each rule is one thing that people, workers or misfortune do; the invariants are checked after each."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.seen: dict[int, invariants.Seen] = {}

    @initialize(
        sizes=st.lists(st.integers(0, 6), min_size=1, max_size=2),
        threshold=THRESHOLD,
        fail_fast=FAIL_FAST,
        claimed=st.integers(0, 4),
        retried=st.booleans(),
        answers=st.lists(st.sampled_from(service.ANSWERS), max_size=4),
        others=meanwhile("process", "account", "checkpoint"),
    )
    def begin(
        self,
        sizes: list[int],
        threshold: float,
        fail_fast: bool,
        claimed: int,
        retried: bool,
        answers: list[str],
        others: list[tuple[str, str, int]],
    ) -> None:
        """Most of what can go wrong needs a job that is under way, or one whose workers hold leases of a run before.

        Where a push service is to answer in some way, it is asked, in the place of a second job for workers.
        """
        for tasks in sizes[: 1 if answers else 2]:
            self.world.submit(tasks, DispatchMode.ASYNC_API, threshold, (), fail_fast=fail_fast)
            self.world.dispatch()
        self.world.claim(self.world.job_ids[0], claimed)
        if retried:
            self.world.give_up(self.world.job_ids[0])
            self.world.retry(self.world.job_ids[0], Redo.FAILED)
            self.world.dispatch()
        if answers:
            self.world.service.planned += answers
            self.world.submit(5, DispatchMode.SYNC_API, threshold, (), fail_fast=fail_fast)
            self._let(others)
            self.world.dispatch()

    @precondition(lambda machine: len(machine.world.job_ids) < 3)
    @rule(
        tasks=st.integers(0, 6),
        mode=MODE,
        threshold=THRESHOLD,
        fail_fast=FAIL_FAST,
        broken=st.sets(st.sampled_from(["k0", "k1", "k3"])),
    )
    def submit(
        self,
        tasks: int,
        mode: DispatchMode,
        threshold: float,
        fail_fast: bool,
        broken: set[str],
    ) -> None:
        self.world.submit(tasks, mode, threshold, sorted(broken), fail_fast=fail_fast)

    @precondition(lambda machine: machine.world.dispatcher.due())
    @rule(
        interruptions=INTERRUPTIONS,
        others=meanwhile("checkpoint", "publish", "initialise", "account", "rebuild_from", "process"),
    )
    def dispatch(self, interruptions: list[str], others: list[tuple[str, str, int]]) -> None:
        self._let(others)
        self.world.dispatch(interruptions)

    @precondition(lambda machine: machine.world.queue.ready())
    @rule(job=PICK, limit=st.integers(1, 4), others=meanwhile("claim", "acknowledge", "reclaim_expired"))
    def claim(self, job: int, limit: int, others: list[tuple[str, str, int]]) -> None:
        self._let(others)
        ready = self.world.queue.ready()
        self.world.claim(ready[job % len(ready)].job_id, limit)

    @precondition(has_held)
    @rule(limit=st.integers(1, 4))
    def claim_what_ran_out(self, limit: int) -> None:
        """Every holder is late: what is open is handed out again, and what they post from now on is stale."""
        self.world.move_clock(timedelta(seconds=31))
        self.world.claim(self._held(0).job_id, limit)

    @precondition(has_held)
    @rule(posts=POSTS, others=meanwhile("account", "acknowledge", "verdict", "remove", "rebuild_from"))
    def post(self, posts: list[tuple[int, str]], others: list[tuple[str, str, int]]) -> None:
        self._let(others)
        self._post(posts)

    @precondition(has_held)
    @rule(job=PICK, posts=POSTS)
    def post_to_whichever_job(self, job: int, posts: list[tuple[int, str]]) -> None:
        self.world.post(self._job(job), [(self._held(pick), word) for pick, word in posts])

    @precondition(has_held)
    @rule(what=st.sampled_from(["extend", "release"]), picks=st.lists(PICK, min_size=1, max_size=3))
    def ask_about_leases(self, what: str, picks: list[int]) -> None:
        ask = {"extend": self.world.extend, "release": self.world.release}[what]
        ask([self._held(pick) for pick in picks])

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.world.move_clock(timedelta(seconds=seconds))

    @rule(call=CALL, fault=st.sampled_from(Fault), times=st.integers(1, 2))
    def engine_will_fail(self, call: tuple[str, str], fault: Fault, times: int) -> None:
        engine, method = call
        self.world.faults[engine].plan(method, fault, times)

    @precondition(has_pushed)
    @rule(answers=st.lists(st.sampled_from(service.ANSWERS), min_size=1, max_size=4))
    def push_service_will_answer(self, answers: list[str]) -> None:
        self.world.service.planned += answers

    @precondition(has_jobs)
    @rule(engine=st.sampled_from(sorted(CALLS)), act=ACT, pick=PICK)
    def engine_is_down_during(self, engine: str, act: str, pick: int) -> None:
        self.world.faults[engine].down = True
        self._act(act, pick)
        self.world.faults[engine].down = False

    @rule(end=st.sampled_from([ProcessDied("killed"), EngineUnavailableError("a lock was not had")]))
    def saving_will_end(self, end: BaseException) -> None:
        self.world.kind.save_ends.append(end)

    @precondition(has_jobs)
    @rule(
        what=st.sampled_from(["flush", "evict", "lose queue", "drop", "redeliver", "lapse", "lose dispatches"]),
        job=PICK,
        ordinal=st.integers(0, 5),
    )
    def something_is_lost(self, what: str, job: int, ordinal: int) -> None:
        ref = self.world.ref(self._job(job))
        losses: dict[str, Callable[[], None]] = {
            "flush": self.world.state.lose_everything,
            "evict": lambda: self.world.state.lose_stage(ref, STATE_MANAGER_STAGES[ordinal % 2]),
            "lose queue": self.world.queue.lose_everything,
            "drop": lambda: self.world.queue.drop(ref, [ordinal]),
            "redeliver": lambda: self.world.queue.redeliver(ref, [ordinal]),
            "lapse": self.world.dispatcher.forget_holders,
            "lose dispatches": self.world.dispatcher.lose_everything,
        }
        losses[what]()

    @precondition(lambda machine: has_jobs(machine) and len(machine.world.held) > 5)
    @rule(act=st.sampled_from(["cancel", "give up"]), job=PICK, others=meanwhile("verdict", "remove", "clean_up"))
    def end(self, act: str, job: int, others: list[tuple[str, str, int]]) -> None:
        self._let(others)
        self._act(act, job)

    @precondition(lambda machine: machine.has_ended_jobs())
    @rule(job=PICK, only=st.sampled_from(Redo), others=meanwhile("enqueue"), dispatched=st.booleans())
    def retry(self, job: int, only: Redo, others: list[tuple[str, str, int]], dispatched: bool) -> None:
        self._let(others)
        ended = [job_id for job_id in self.world.job_ids if jobs.get(job_id).is_final]
        self.world.retry(ended[job % len(ended)], only)
        if dispatched:
            self.world.dispatch()

    def has_ended_jobs(self) -> bool:
        return any(jobs.get(job_id).is_final for job_id in self.world.job_ids)

    @rule(others=meanwhile("verdict", "reclaim_expired", "depth", "publish", "remove"))
    def health_tick(self, others: list[tuple[str, str, int]]) -> None:
        self._let(others)
        self.world.tick()

    @invariant()
    def nothing_is_broken(self) -> None:
        invariants.check(self.world, self.seen)

    def teardown(self) -> None:
        self.world.drain()
        invariants.check(self.world, self.seen)
        invariants.check_end(self.world)

    def _let(self, others: Sequence[tuple[str, str, int]]) -> None:
        for point, act, pick in others:
            self.world.between(point, lambda act=act, pick=pick: self._act(act, pick))

    def _act(self, act: str, pick: int) -> None:
        job_id = self._job(pick)
        held = [self._held(pick)] if self.world.held else []
        acts: dict[str, Callable[[], object]] = {
            "claim": lambda: self.world.claim(job_id, 2),
            "post": lambda: self._post([(pick, "note"), (pick + 1, "error")]),
            "cancel": lambda: self.world.cancel(job_id),
            "give up": lambda: self.world.give_up(job_id),
            "retry": lambda: self.world.retry(job_id, Redo.FAILED),
            "retry all": lambda: self.world.retry(job_id, Redo.UNFINISHED),
            "tick": self.world.tick,
            "dispatch": self.world.dispatch,
            "second dispatcher": lambda: self.world.run_beside(job_id),
            "release": lambda: self.world.release(held),
            "expire": lambda: self.world.move_clock(timedelta(seconds=31)),
            "flush": self.world.state.lose_everything,
        }
        acts[act]()

    def _post(self, posts: Sequence[tuple[int, str]]) -> None:
        items = [(self._held(pick), word) for pick, word in posts if self.world.held]
        for job_id in sorted({held.job_id for held, _ in items}):
            self.world.post(job_id, [item for item in items if item[0].job_id == job_id])

    def _job(self, pick: int) -> int:
        return self.world.job_ids[pick % len(self.world.job_ids)]

    def _held(self, pick: int) -> Held:
        """Half of the picks are of tasks that are still open, as long as there are any."""
        held = (self.world.still_open() if pick % 2 == 0 else []) or self.world.held
        return held[-1 - pick // 2 % len(held)]


@pytest.mark.timeout(7200 if HEAVY else 900)
@pytest.mark.django_db(transaction=True)
def test_flow_keeps_its_promises_whatever_happens(small_steps: None) -> None:
    service.answered.clear()
    run_state_machine_as_test(FlowMachine, settings=PROFILE)
    assert len(service.answered) > len(service.ANSWERS) // 2, "push services were asked, and answered in many ways"
