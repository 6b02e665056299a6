"""A process dies in the middle of a repair: nothing was changed that the job's log does not tell of."""

from collections.abc import Mapping
from typing import Any

import pytest

from headcount.domain.records import Event, JobRef
from headcount.health.apply import REPAIRS, apply
from headcount.health.finding import Remedy
from headcount.health.repairs.ground import event_name
from headcount.ports.deployment import Deployment
from headcount.store import events
from headcount.testing.faults import ProcessDied
from tests.health.damage import DAMAGE, REPAIR_EVENTS, Damaged, everything, repair_events

pytestmark = pytest.mark.django_db

ENGINE_CALLS: Mapping[Remedy, tuple[str, str]] = {
    Remedy.REBUILD_STATE: ("state", "rebuild_from"),
    Remedy.REPUBLISH: ("queue", "publish"),
    Remedy.RESUME_DISPATCH: ("dispatcher", "resume"),
    Remedy.CLEAN_UP: ("queue", "remove"),
}
"""What the remedies call that change something beyond the job's rows: an engine, and the method."""


def dies_in(deployment: Deployment, damaged: Damaged) -> None:
    with pytest.raises(ProcessDied):
        apply(deployment, damaged.observation, damaged.finding)


@pytest.mark.parametrize("remedy", REPAIRS)
def test_before_it_is_told_nothing_is_changed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, remedy: Remedy
) -> None:
    really = events.append

    def die_over_a_repair(job: JobRef, event: Event, *further: Any) -> None:
        if event.name in REPAIR_EVENTS:
            raise ProcessDied(event.name)
        really(job, event, *further)

    damaged = DAMAGE[remedy](deployment)
    before = everything()
    with monkeypatch.context() as patch:
        patch.setattr(events, "append", die_over_a_repair)
        dies_in(deployment, damaged)
    assert everything() == before
    assert apply(deployment, damaged.observation, damaged.finding)
    damaged.repaired()


@pytest.mark.parametrize("remedy", ENGINE_CALLS)
@pytest.mark.parametrize("is_done", [False, True], ids=["before the call", "after the call"])
def test_what_an_engine_was_called_for_is_told(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, remedy: Remedy, *, is_done: bool
) -> None:
    damaged = DAMAGE[remedy](deployment)
    port, method = ENGINE_CALLS[remedy]
    engine = type(getattr(deployment, port))
    really = getattr(engine, method)

    def die(*arguments: Any, **options: Any) -> None:
        if is_done:
            really(*arguments, **options)
        raise ProcessDied(method)

    before = everything()
    with monkeypatch.context() as patch:
        patch.setattr(engine, method, die)
        dies_in(deployment, damaged)
    is_told = repair_events(damaged.job) == [event_name(remedy)]
    assert is_told or (everything() == before and not is_done)
