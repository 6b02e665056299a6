"""Ground: a deployment to run chaos on, with what its processes survive and how its time passes."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from django.db import connections

from headcount.errors import ConfigurationError, ConflictError, TemporaryError
from headcount.health.loop import jobs_health_check
from headcount.models import Task
from headcount.ports.deployment import Deployment
from headcount.statements import write_transaction
from headcount.testing.chaos.faults import Breakable
from headcount.testing.chaos.plan import MOST_COSTLY
from headcount.testing.chaos.web import Web, WebHere
from headcount.testing.faults import ProcessDied

PATIENCE_SECONDS = 60.0
_A_MOMENT = timedelta(seconds=1)
_HOUR = timedelta(hours=1)

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class Ground:
    """Where jobs run and things go wrong.

    Attributes:
        broken: the deployment and its faults.
        take_up: has a dispatcher take up a run that is due; returns whether there was one.
        let_pass: lets so much time pass for every process; negative for a clock that jumps back.
        web: the web processes that are killed; None for such as die within this process.
        cuts: the engines, by the name of their port, that can really be cut off from everybody, and how; the others
            are silent for this process alone.
        deaths: how many processes were killed so far.
    """

    broken: Breakable
    take_up: Callable[[], bool]
    let_pass: Callable[[timedelta], None]
    web: Web | None = None
    cuts: Mapping[str, Callable[[], AbstractContextManager[None]]] = field(default_factory=dict)
    deaths: int = 0
    _turned_back: timedelta = field(default=timedelta(0))

    def __post_init__(self) -> None:
        """Refuse a deployment in which the faults alone could spend a task's attempts.

        Raises:
            ConfigurationError: it allows too few attempts.
        """
        if self.deployment.settings.max_attempts <= MOST_COSTLY:
            raise ConfigurationError(f"chaos needs HEADCOUNT_MAX_ATTEMPTS to be more than {MOST_COSTLY}")

    @property
    def deployment(self) -> Deployment:
        """What the processes work with."""
        return self.broken.deployment

    @property
    def whole(self) -> Deployment:
        """The same without faults."""
        return self.broken.whole

    @property
    def mortal_web(self) -> Web:
        """The web processes that are killed."""
        return self.web or WebHere(self.broken)

    @contextmanager
    def away(self, engine: str) -> Iterator[None]:
        """Have the engine of a port not answer for a while."""
        if engine in self.cuts:
            with self.cuts[engine]():
                yield
            return
        self.broken.faults[engine].down = True
        try:
            yield
        finally:
            self.broken.faults[engine].down = False

    def mend(self) -> None:
        """Let nothing go wrong from now on."""
        self.broken.mend()
        self.mortal_web.mend()

    def survive(self, act: Callable[[], _Answer]) -> _Answer | None:
        """Do something in a process of its own, which may die or be told to come again; returns None where it did."""
        try:
            return act()
        except ProcessDied:
            self.deaths += 1
        except (TemporaryError, ConflictError):
            pass
        return None

    def dispatch(self) -> None:
        """Have dispatchers take up what is due."""
        while self.survive(self.take_up):
            pass

    def tick(self) -> None:
        """Have the health loop look once."""
        self.survive(lambda: jobs_health_check(self.deployment))

    def outlast_leases(self) -> None:
        """Let time pass until every lease has ended, then have the health loop and a dispatcher look."""
        settings = self.deployment.settings
        self.put_clock_right()
        self.let_pass(max(settings.ack_wait, settings.dispatch_lease) + _A_MOMENT)
        self.tick()
        self.dispatch()

    def turn_clock_back(self) -> None:
        """Have the clock jump back an hour."""
        self._turned_back += _HOUR
        self.let_pass(-_HOUR)

    def put_clock_right(self) -> None:
        """Have a clock that jumped back tell the time again."""
        if self._turned_back:
            self.let_pass(self._turned_back)
            self._turned_back = timedelta(0)

    def at_once(self, acts: Sequence[Callable[[], _Answer]]) -> list[_Answer | None]:
        """Do things on a thread each, let go at one moment."""
        barrier = threading.Barrier(len(acts))

        def begin(act: Callable[[], _Answer]) -> _Answer | None:
            try:
                barrier.wait(PATIENCE_SECONDS)
                return self.survive(act)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(acts)) as pool:
            return list(pool.map(begin, acts))

    def hold_lock(self, job_id: int, until: threading.Event) -> None:
        """Hold a write lock on the database, where it is SQLite, or on the job's tasks until an event is set."""
        with write_transaction():
            list(Task.objects.select_for_update().filter(job_id=job_id).order_by("id"))
            until.wait(PATIENCE_SECONDS)
