"""The deployments that ``headcount chaos`` works on; importing this module sets Django up."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.db.models import Q

from headcount.cli import setup
from headcount.clock import Clock, system_clock
from headcount.conf import Settings
from headcount.domain.states import FINAL_STATES
from headcount.engines.database.dispatcher import DatabaseDispatcher
from headcount.flow.run_job import run_job
from headcount.ports.deployment import Deployment
from headcount.store import jobs
from headcount.testing.chaos.faults import Breakable, breakable
from headcount.testing.chaos.ground import Ground
from headcount.testing.chaos.plan import Capabilities, Trouble
from headcount.testing.chaos.run import PROJECT
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH
from headcount.testing.kinds import NoteKind
from headcount.wiring import build, build_runner

IN_REAL_TIME = Capabilities(troubles=frozenset(Trouble) - {Trouble.CLOCK_BACK})
"""What a deployment can suffer whose clock is the machine's."""


def throw_away_ground() -> tuple[Ground, Capabilities]:
    """Return the deployment of the environment, on which nobody else works, under a clock that jumps."""
    setup.prepare_database()
    return embedded_ground(settings.HEADCOUNT), Capabilities()


def shared_ground() -> tuple[Ground, Capabilities]:
    """Return the deployment of the environment as it is, with whatever else works on it."""
    setup.prepare_database()
    broken = _broken(settings.HEADCOUNT, system_clock)
    return Ground(broken, _dispatching(broken), lambda by: time.sleep(by.total_seconds())), IN_REAL_TIME


def embedded_ground(settings: Settings, kind: NoteKind | None = None) -> Ground:
    """Return an embedded deployment in which only this process works, so that its clock is the only one."""
    clock = FrozenClock(EPOCH)

    def let_pass(by: timedelta) -> None:
        clock.advance(by)

    broken = _broken(settings, clock, kind)
    return Ground(broken, _dispatching(broken), let_pass)


def _broken(settings: Settings, clock: Clock, kind: NoteKind | None = None) -> Breakable:
    here = build(settings, clock)
    return breakable(replace(here, kinds={**here.kinds, NoteKind.name: kind or NoteKind()}))


def _dispatching(broken: Breakable) -> Callable[[], bool]:
    """Return what takes up a run: the embedded runner, or this process beside the deployment's own dispatchers."""
    if isinstance(broken.whole.dispatcher, DatabaseDispatcher):
        return build_runner(replace(broken.deployment, dispatcher=broken.whole.dispatcher)).run_one
    return lambda: _dispatch_beside(broken.deployment)


def _dispatch_beside(deployment: Deployment) -> bool:
    unpublished = Q(project__name=PROJECT, published_at__isnull=True) & ~Q(status__in=FINAL_STATES)
    for job in jobs.find(unpublished, limit=100):
        run_job(deployment, job.ref)
    return False
