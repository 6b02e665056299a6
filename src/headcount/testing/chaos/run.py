"""Run: do a planned job while what is planned goes wrong, work it off, and check how it ended."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.models import Q

from headcount.domain.lease_token import Lease, verify
from headcount.domain.records import Answer, JobRecord
from headcount.domain.states import AnswerStatus, DispatchMode
from headcount.flow import cancel, leases, submit
from headcount.ports.task_queue import Delivery
from headcount.store import jobs, ledger, registry
from headcount.testing.chaos.check import check, look
from headcount.testing.chaos.ground import Ground
from headcount.testing.chaos.plan import Plan, PlannedFault, Trouble, Word
from headcount.testing.chaos.web import Web, WebHere
from headcount.testing.kinds import NoteKind

PROJECT = "chaos"
PIPELINE = "notes"
MOST_PAUSES = 60
"""How often a job may stand still until leases have ended; one that is not done by then never will be."""

_BODIES: dict[Word, dict[str, Any]] = {
    Word.NOTE: {"note": "done"},
    Word.ERROR: {"error": "it went wrong, as planned"},
    Word.POISON: {"poison": "it cannot be saved, as planned"},
}

Batch = Sequence[str]
"""The lease tokens of tasks that were claimed together."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a planned job ended.

    Attributes:
        plan: what was to happen.
        job_id: the job.
        status: what the job's row says in the end.
        deaths: how many processes were killed while it ran.
        offences: a sentence for everything that is not as it must be.
    """

    plan: Plan
    job_id: int
    status: str
    deaths: int
    offences: tuple[str, ...]

    @property
    def held(self) -> bool:
        """Whether everything is as it must be."""
        return not self.offences


def run(ground: Ground, plans: Sequence[Plan]) -> list[Outcome]:
    """Do jobs beside each other, each after its plan; the seed of the first decides whose turn it is."""
    project_id = jobs.ensure_project(PROJECT)
    now = ground.whole.clock()
    registry.register(project_id, PROJECT, [registry.PipelineOffer(PIPELINE, PIPELINE, "1")], now)
    ground.deaths = 0
    lives = [_Life(ground, plan, project_id) for plan in plans]
    _take_turns([life.steps() for life in lives], random.Random(plans[0].seed))  # noqa: S311 - no secret
    _come_to_rest(ground)
    return [life.outcome() for life in lives]


def _take_turns(steps: list[Iterator[None]], chance: random.Random) -> None:
    while steps:
        turn = chance.choice(steps)
        if next(turn, turn) is turn:
            steps.remove(turn)


def _come_to_rest(ground: Ground) -> None:
    """Let nothing go wrong any more, and the health loop tidy up."""
    ground.mend()
    for _ in range(2):
        ground.outlast_leases()


class _Life:
    """One job from its submission to its end."""

    def __init__(self, ground: Ground, plan: Plan, project_id: int) -> None:
        self._ground = ground
        self._plan = plan
        self._project_id = project_id
        self._web = WebHere(ground.broken)
        self._to_come = list(plan.faults)
        self._posted: list[dict[str, Any]] = []
        self._promised: set[str] = set()
        self._job_id = 0
        self._strikes: dict[Trouble, Callable[[PlannedFault], None]] = {
            Trouble.KILL_WORKER: self._kill_worker,
            Trouble.KILL_WEB: self._kill_web,
            Trouble.LOSE_STATE: self._lose_state,
            Trouble.LOSE_QUEUE: self._lose_queue,
            Trouble.RESTART_QUEUE: self._restart_queue,
            Trouble.RESTART_STATE: self._restart_state,
            Trouble.DUPLICATE_POSTS: self._post_several_times,
            Trouble.LATE_POST: self._post_late,
            Trouble.REDELIVER: self._redeliver,
            Trouble.RELEASE: self._release,
            Trouble.CLOCK_BACK: self._turn_clock_back,
            Trouble.LOCK_DATABASE: self._lock_database,
            Trouble.CANCEL: self._cancel,
            Trouble.CUT_BROKER: self._cut_broker,
        }

    def steps(self) -> Iterator[None]:
        """Live, a step at a time, so that other jobs live in between."""
        self._submit()
        yield from self._until_published()
        yield from self._work_off()
        self._post_everything_again()

    def outcome(self) -> Outcome:
        """Look at how it ended."""
        facts = look(self._ground.whole, self._job_id, frozenset(self._promised))
        offences = check(self._plan, facts)
        return Outcome(self._plan, self._job_id, facts.job.status, self._ground.deaths, offences)

    # How it goes

    def _submit(self) -> None:
        for fault in self._take(lambda fault: fault.trouble is Trouble.KILL_DISPATCHER):
            self._arm(fault)
        if self._take(lambda fault: fault.trouble is Trouble.CUT_BROKER and not fault.after):
            with self._ground.away("dispatcher"):
                self._hand_in()
                self._ground.tick()
        else:
            self._hand_in()
        (newest,) = jobs.find(Q(project_id=self._project_id), limit=1, newest_first=True)
        self._job_id = newest.id

    def _hand_in(self) -> None:
        tasks = len(self._plan.words)
        request = submit.JobRequest(
            self._project_id,
            NoteKind.name,
            dispatch_mode=DispatchMode.ASYNC_API,
            pipeline=PIPELINE,
            name=f"seed {self._plan.seed}",
            config={"tasks": tasks},
            failure_threshold=self._plan.threshold,
        )
        self._ground.survive(lambda: submit.submit(self._ground.deployment, request))

    def _until_published(self) -> Iterator[None]:
        for _ in range(MOST_PAUSES):
            self._ground.dispatch()
            if self._job.published or self._job.is_final:
                return
            self._ground.outlast_leases()
            yield

    def _work_off(self) -> Iterator[None]:
        pauses = 0
        while not self._job.is_final and pauses < MOST_PAUSES:
            if fault := self._due():
                self._strikes[fault.trouble](fault)
            elif batch := self._claim(self._plan.batch):
                self._post(batch)
            else:
                self._ground.outlast_leases()
                pauses += 1
            yield

    def _post_everything_again(self) -> None:
        """Late, doubled, all at once: nothing of it may change anything."""
        self._ground.survive(lambda: self._receive(self._posted))

    @property
    def _job(self) -> JobRecord:
        return jobs.get(self._job_id)

    def _due(self) -> PlannedFault | None:
        """Take the next fault whose time has come; a cancel, which must not come too late, before all others."""
        accounted = ledger.counts(self._job_id).accounted
        due = sorted(
            (fault for fault in self._to_come if fault.after <= accounted),
            key=lambda fault: (fault.trouble is not Trouble.CANCEL, fault.after),
        )
        if due:
            self._to_come.remove(due[0])
        return next(iter(due), None)

    def _take(self, wanted: Callable[[PlannedFault], bool]) -> list[PlannedFault]:
        found = [fault for fault in self._to_come if wanted(fault)]
        self._to_come = [fault for fault in self._to_come if fault not in found]
        return found

    def _arm(self, fault: PlannedFault) -> None:
        if fault.place is not None:
            self._ground.broken.arm(fault.place)

    # What workers do

    def _claim(self, limit: int, worker: str = "worker", web: Web | None = None) -> Batch:
        asked = web or self._web
        return self._ground.survive(lambda: asked.claim(self._job, limit, worker)) or []

    def _post(self, batch: Batch, web: Web | None = None) -> None:
        bodies = self._bodies(batch)
        self._ground.survive(lambda: self._receive(bodies, web))

    def _bodies(self, batch: Batch) -> list[dict[str, Any]]:
        """What is posted for a batch: nothing for tasks that are never answered."""
        words = [(token, self._plan.words[self._lease(token).ordinal]) for token in batch]
        bodies = [
            {"reply_subject": token, "result": _BODIES[word]} for token, word in words if word is not Word.SILENCE
        ]
        self._posted.extend(bodies)
        return bodies

    def _receive(self, bodies: Sequence[dict[str, Any]], web: Web | None = None) -> None:
        if not bodies:
            return
        answers = (web or self._web).receive(self._job, bodies)
        self._promised.update(self._promises(bodies, answers))

    def _promises(self, bodies: Sequence[dict[str, Any]], answers: Sequence[Answer]) -> Iterator[str]:
        for body, answer in zip(bodies, answers, strict=True):
            if answer.status is AnswerStatus.SAVED and answer.task_key and "note" in body["result"]:
                yield answer.task_key

    # What goes wrong

    def _kill_worker(self, fault: PlannedFault) -> None:
        self._claim(fault.size, "one that is killed")

    def _kill_web(self, fault: PlannedFault) -> None:
        web = self._ground.mortal_web
        if fault.place is not None:
            web.arm(fault.place)
        batch = self._claim(fault.size, web=web)
        self._post(batch, web)
        if fault.again:
            self._post(batch, web)

    def _lose_state(self, fault: PlannedFault) -> None:
        self._ground.whole.state.clean_up(self._job.ref)

    def _lose_queue(self, fault: PlannedFault) -> None:
        """With a batch in hand: what was delivered from the queue before it was lost is posted all the same."""
        batch = self._claim(fault.size)
        self._ground.whole.queue.remove(self._job.ref)
        self._post(batch)
        self._ground.tick()

    def _restart_queue(self, fault: PlannedFault) -> None:
        batch = self._claim(fault.size)
        self._while_away("queue", batch)
        self._ground.whole.queue.release(self._job.ref, self._deliveries(batch))

    def _restart_state(self, fault: PlannedFault) -> None:
        self._while_away("state", self._claim(fault.size))

    def _cut_broker(self, fault: PlannedFault) -> None:
        self._while_away("dispatcher", self._claim(fault.size))

    def _while_away(self, engine: str, batch: Batch) -> None:
        """Post, claim and have the health loop look while an engine does not answer."""
        with self._ground.away(engine):
            self._post(batch)
            self._claim(self._plan.batch)
            self._ground.tick()

    def _post_several_times(self, fault: PlannedFault) -> None:
        bodies = self._bodies(self._claim(self._plan.batch))
        self._ground.at_once([partial(self._receive, bodies)] * fault.size)

    def _post_late(self, fault: PlannedFault) -> None:
        late = self._claim(fault.size, "one that is late")
        self._ground.outlast_leases()
        batch = self._claim(fault.size)
        self._post(late)
        self._post(batch)

    def _redeliver(self, fault: PlannedFault) -> None:
        first = self._claim(fault.size, "one that is robbed")
        self._ground.whole.queue.release(self._job.ref, self._deliveries(first))
        second = self._claim(fault.size)
        bodies = [self._bodies(second), self._bodies(first)]
        self._ground.at_once([partial(self._receive, posted) for posted in bodies])

    def _release(self, fault: PlannedFault) -> None:
        tokens = list(self._claim(fault.size, "one that drains"))
        self._ground.survive(lambda: leases.release(self._ground.deployment, self._project_id, tokens))

    def _turn_clock_back(self, fault: PlannedFault) -> None:
        batch = self._claim(fault.size)
        self._ground.turn_clock_back()
        self._post(batch)
        self._ground.tick()

    def _lock_database(self, fault: PlannedFault) -> None:
        """The lock is let go once the post is on its way; whether it comes to wait is up to the machine."""
        bodies = self._bodies(self._claim(fault.size))
        is_posted = threading.Event()

        def post() -> None:
            is_posted.set()
            self._receive(bodies)

        acts: list[Callable[[], None]] = [partial(self._ground.hold_lock, self._job_id, is_posted), post]
        self._ground.at_once(acts)

    def _cancel(self, fault: PlannedFault) -> None:
        """One that died in the midst is cancelled by the health loop; what workers hold by then comes too late."""
        batch = self._claim(self._plan.batch)
        self._ground.survive(lambda: cancel.cancel(self._ground.deployment, self._job_id))
        self._post(batch)

    def _deliveries(self, batch: Batch) -> list[Delivery]:
        return [Delivery(lease.ordinal, lease.sequence) for lease in map(self._lease, batch)]

    def _lease(self, token: str) -> Lease:
        return verify(token, self._ground.whole.lease_key)
