"""A small world: one deployment on engines that break, the workers and dispatchers in it, and what each was told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.db import connection

from headcount.domain.records import Answer, JobRecord, JobRef, LeaseAnswer, LeasedTask, TaskCounts
from headcount.domain.states import AnswerStatus, DispatchMode, LeaseStatus, Redo
from headcount.errors import ConflictError, DispatchInterruptedError, EngineUnavailableError, TemporaryError
from headcount.flow import cancel, claim, leases, receive, retry, run_job, submit
from headcount.health.loop import jobs_health_check
from headcount.models import Job
from headcount.ports.job_kind import SavedResult
from headcount.ports.state_manager import Mark, Snapshot, Unknown
from headcount.ports.task_queue import Delivery
from headcount.store import jobs, ledger, outbox, registry
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH, PIPELINE, make_project, memory_deployment
from headcount.testing.faults import Faults, ProcessDied
from headcount.testing.kinds import NoteKind
from headcount.testing.memory import MemoryDispatcher, MemoryStateManager, MemoryTaskQueue
from tests.machine.service import PushedTo
from tests.settings import HEADCOUNT

SETTINGS = HEADCOUNT.model_copy(update={"max_attempts": 3, "public_url": "http://headcount"})
RESULTS: dict[str, Callable[[LeasedTask], Any]] = {
    "note": lambda task: {"note": "done"},
    "named note": lambda task: {"note": "done", "key": task.key},
    "note of another task": lambda task: {"note": "done", "key": "k999"},
    "error": lambda task: {"error": "it went wrong"},
    "error of another task": lambda task: {"error": "it went wrong", "key": "k999"},
    "poison": lambda task: {"poison": "cannot be saved"},
    "unfit": lambda task: {"something": "else"},
    "nonsense": lambda task: "no object",
}
SAVING = ("note", "named note")


@dataclass(frozen=True)
class Held:
    """A task as a worker once got it; it may be stale, done or cancelled by now."""

    job_id: int
    task: LeasedTask
    token: str
    run: int


class WorldKind(NoteKind):
    """Lets the process die or the database fail in the midst of saving, and others act before a verdict is written."""

    dispatch_modes = frozenset(DispatchMode)

    def __init__(self, at: Callable[[str], None]) -> None:
        self._at = at
        self.save_ends: list[BaseException] = []
        self.counts_before_verdict: dict[int, TaskCounts] = {}

    def save(self, job: JobRecord, results: Sequence[SavedResult]) -> None:
        super().save(job, results)
        if self.save_ends:
            raise self.save_ends.pop()

    def named_counts(self, job_id: int) -> dict[str, int]:
        if not connection.in_atomic_block:
            self._at("verdict")
        self.counts_before_verdict[job_id] = ledger.counts(job_id)
        return super().named_counts(job_id)


class WorldState(MemoryStateManager):
    """Remembers what it was ever told, whatever it lost since."""

    def __init__(self) -> None:
        super().__init__()
        self.told: set[tuple[JobRef, int]] = set()

    def account(self, job: JobRef, marks: Sequence[Mark]) -> Snapshot | Unknown:
        assert not still_open_in(job, [mark.ordinal for mark in marks]), "the state manager is told before the ledger"
        answer = super().account(job, marks)
        self.told |= {(job, mark.ordinal) for mark in marks}
        return answer


class WorldQueue(MemoryTaskQueue):
    """Lets nobody acknowledge what the witnesses before it do not know."""

    def __init__(self, state: WorldState) -> None:
        super().__init__()
        self._state = state

    def acknowledge(self, job: JobRef, deliveries: Sequence[Delivery]) -> None:
        ordinals = [delivery.ordinal for delivery in deliveries]
        assert not still_open_in(job, ordinals), "the queue is told before the ledger"
        counted = [row.ordinal for row in ledger.rows(job.job_id, ordinals).values() if row.state != "cancelled"]
        assert self._state.told.issuperset((job, ordinal) for ordinal in counted), "the queue is told before the state"
        super().acknowledge(job, deliveries)


def still_open_in(job: JobRef, ordinals: Sequence[int]) -> list[int]:
    """Return which of the tasks are open in this run; the one after it opens some of them again."""
    if jobs.get(job.job_id).ref != job:
        return []
    return [row.ordinal for row in ledger.rows(job.job_id, ordinals).values() if row.state.is_open]


class World:
    """Everything that can happen to the jobs of one deployment, each as one call that survives what it may."""

    def __init__(self) -> None:
        Job.objects.all().delete()
        self.clock = FrozenClock(EPOCH)
        self.kind = WorldKind(self.at)
        state = WorldState()
        engines = memory_deployment(SETTINGS, self.clock, self.kind)
        self.deployment = replace(engines, state=state, queue=WorldQueue(state))
        self.project_id = make_project()
        self.service = PushedTo(self.at)
        registry.add_push_service(self.project_id, "pushed to", self.service.url, [PIPELINE], EPOCH)
        self.job_ids: list[int] = []
        self.held: list[Held] = []
        self.cancelled: set[JobRef] = set()
        self.given_up: set[JobRef] = set()
        self.promised: set[tuple[int, str]] = set()
        self.noticed: list[str] = []
        self._in_between: list[tuple[str, Callable[[], None]]] = []
        self._interruptions: list[str] = []
        self._turned_back = timedelta(0)
        for faults in self.faults.values():
            faults.watcher = self._engine_is_called

    @property
    def queue(self) -> MemoryTaskQueue:
        assert isinstance(self.deployment.queue, MemoryTaskQueue)
        return self.deployment.queue

    @property
    def state(self) -> MemoryStateManager:
        assert isinstance(self.deployment.state, MemoryStateManager)
        return self.deployment.state

    @property
    def dispatcher(self) -> MemoryDispatcher:
        assert isinstance(self.deployment.dispatcher, MemoryDispatcher)
        return self.deployment.dispatcher

    @property
    def faults(self) -> dict[str, Faults]:
        return {"queue": self.queue.faults, "state": self.state.faults, "dispatcher": self.dispatcher.faults}

    def survive(self, act: Callable[[], Any]) -> Any:
        """Do something in a process of its own, which may die or be told to come again later."""
        try:
            return act()
        except (ProcessDied, TemporaryError):
            return None

    def between(self, point: str, act: Callable[[], None]) -> None:
        """Have another process act when the next one comes to this point."""
        self._in_between.append((point, act))

    def at(self, point: str) -> None:
        for planned in [item for item in self._in_between if item[0] == point][:1]:
            self._in_between.remove(planned)
            self.survive(planned[1])

    def _engine_is_called(self, method: str) -> None:
        assert not connection.in_atomic_block, f"{method} is called with a transaction open"
        self.at(method)

    # What people and dispatchers do

    def submit(
        self, tasks: int, mode: DispatchMode, threshold: float, broken: Sequence[str], *, fail_fast: bool = False
    ) -> None:
        request = submit.JobRequest(
            self.project_id,
            NoteKind.name,
            dispatch_mode=mode,
            pipeline=PIPELINE,
            config={"tasks": tasks, "broken": list(broken)},
            failure_threshold=threshold,
            fail_fast=fail_fast,
        )
        self.survive(lambda: submit.submit(self.deployment, request))
        self.job_ids = list(Job.objects.order_by("id").values_list("id", flat=True))

    def dispatch(self, interruptions: Sequence[str] = ()) -> bool:
        """Take up a due run; ``interruptions`` are what happens at its checkpoints, in order."""
        self._interruptions = list(reversed(interruptions))
        return bool(self.survive(lambda: self.dispatcher.run_next(self._run, self._abandon)))

    def run_beside(self, job_id: int) -> None:
        """Run a job as a second dispatcher that believes it holds it."""
        ref = jobs.get(job_id).ref
        self.survive(lambda: run_job.run_job(self.deployment, ref, self._checkpoint))

    def _run(self, ref: JobRef) -> None:
        """A dispatcher tries again whatever its run raises; what an engine or service of this world noticed is kept."""
        try:
            run_job.run_job(self.deployment, ref, self._checkpoint)
        except AssertionError as error:
            self.noticed.append(str(error))
            raise

    def _abandon(self, ref: JobRef, reason: str) -> None:
        self.given_up.add(ref)
        run_job.abandon_job(self.deployment, ref, reason)

    def give_up(self, job_id: int) -> None:
        self.survive(lambda: self._abandon(jobs.get(job_id).ref, "nobody is left"))

    def _checkpoint(self) -> None:
        self.at("checkpoint")
        match self._interruptions.pop() if self._interruptions else "":
            case "stop":
                raise DispatchInterruptedError("stopping")
            case "die":
                raise ProcessDied("killed")
            case "fail":
                raise EngineUnavailableError("something does not answer")

    def cancel(self, job_id: int) -> None:
        job = jobs.get(job_id)

        def act() -> None:
            try:
                self.cancelled.add(job.ref)
                cancel.cancel(self.deployment, job_id)
            except ConflictError:
                assert jobs.get(job_id).is_final

        if not job.is_final:
            self.survive(act)

    def retry(self, job_id: int, only: Redo) -> None:
        """Have a job that has ended taken up again, unless there is nothing to do, which must be so then."""

        def act() -> None:
            try:
                retry.retry(self.deployment, job_id, only)
            except ConflictError:
                counts, left = ledger.counts(job_id), only is Redo.UNFINISHED
                assert not counts.failed + counts.open + left * counts.cancelled or jobs.get(job_id).task_total is None

        if jobs.get(job_id).is_final:
            self.survive(act)

    def tick(self) -> None:
        self.survive(lambda: jobs_health_check(self.deployment))

    # What workers do

    def claim(self, job_id: int, limit: int) -> list[Held]:
        claimer = claim.Claimer(self.project_id, "worker", [PIPELINE])
        job = jobs.get(job_id)
        claimed = self.survive(lambda: claim.claim(self.deployment, job, limit, claimer)) or []
        held = [Held(job_id, item.task, item.token, job.run) for item in claimed]
        self.held.extend(held)
        return held

    def still_open(self) -> list[Held]:
        """Return what was handed out of tasks that are still open, whoever holds them by now."""
        open_tasks = {job_id: set(ledger.open_ordinals(job_id)) for job_id in self.job_ids}
        return [held for held in self.held if held.task.ordinal in open_tasks[held.job_id]]

    def post(self, job_id: int, items: Sequence[tuple[Held, str]]) -> None:
        """Post results, whoever holds the tasks by now, and hold the answers against the ledger."""
        posted = [{"reply_subject": held.token, "result": RESULTS[word](held.task)} for held, word in items]
        before = self.ref(job_id)
        answers = self.survive(lambda: receive.receive(self.deployment, job_id, self.project_id, posted))
        if self.ref(job_id) != before:
            # What was answered was true of the run that is over; whether it keeps its promises shows in the end.
            return
        if answers is not None:
            assert [answer.reply_subject for answer in answers] == [held.token for held, _ in items]
            for (held, word), answer in zip(items, answers, strict=True):
                # Of two results for one task only one is tried; what became of it is said of both.
                words = [other for twin, other in items if twin.task.ordinal == held.task.ordinal]
                self._check_answer(job_id, held, word if len(words) == 1 else "", answer)

    def _check_answer(self, job_id: int, held: Held, word: str, answer: Answer) -> None:
        if held.job_id != job_id:
            assert answer.status is AnswerStatus.REJECTED
            return
        row = ledger.rows(job_id, [held.task.ordinal])[held.task.ordinal]
        match answer.status:
            case AnswerStatus.SAVED if word in SAVING:
                assert row.state == "saved", answer
                self.promised.add((job_id, row.key))
            case AnswerStatus.SAVED if word:
                assert (word, row.state, row.attempt) == ("error", "failed", held.task.attempt), answer
                assert held.run == self.ref(job_id).run, "a failure of a run before counts in this one"
            case AnswerStatus.SAVED:
                assert not row.state.is_open, answer
            case AnswerStatus.DUPLICATE:
                assert not row.state.is_open, answer
            case AnswerStatus.STALE:
                assert row.state == "cancelled" or word not in SAVING, answer
            case AnswerStatus.REJECTED:
                assert word not in (*SAVING, "error"), answer

    def extend(self, items: Sequence[Held]) -> None:
        self._ask(leases.extend, items, "leased")

    def release(self, items: Sequence[Held]) -> None:
        self._ask(leases.release, items, "waiting")

    def _ask(self, ask: Callable[..., list[LeaseAnswer]], items: Sequence[Held], after: str) -> None:
        answers = self.survive(lambda: ask(self.deployment, self.project_id, [held.token for held in items]))
        for held, answer in zip(items, answers or [], strict=bool(answers)):
            row = ledger.rows(held.job_id, [held.task.ordinal])[held.task.ordinal]
            if answer.status in (LeaseStatus.EXTENDED, LeaseStatus.RELEASED):
                assert (row.state, row.attempt) == (after, held.task.attempt), answer

    # What befalls them

    def move_clock(self, by: timedelta) -> None:
        self.clock.advance(by)
        self._turned_back += max(-by, timedelta(0))

    def ref(self, job_id: int) -> JobRef:
        return jobs.get(job_id).ref

    # How it ends

    def drain(self) -> None:
        """Let nothing go wrong any more and an honest worker work until every job has ended."""
        self._mend()
        for _ in range(SETTINGS.max_attempts + 4):
            self.dispatcher.forget_holders()
            while self.dispatch():
                pass
            self.tick()
            self._work_honestly()
            self.tick()
            if not jobs.running() and not outbox.undelivered():
                return
            self.clock.advance(SETTINGS.ack_wait + timedelta(seconds=1))

    def _mend(self) -> None:
        for faults in self.faults.values():
            faults.clear()
        self._in_between.clear()
        self.kind.save_ends.clear()
        self.service.planned.clear()
        self.clock.advance(self._turned_back)

    def _work_honestly(self) -> None:
        claimer = claim.Claimer(self.project_id, "honest", [PIPELINE])
        while claimed := claim.claim_any(self.deployment, claimer, 10):
            job, tasks = claimed
            self.post(job.id, [(Held(job.id, item.task, item.token, job.run), "note") for item in tasks])
