"""What the tests of this folder ask for."""

from functools import partial

import httpx
import pytest

from headcount.flow import collect, publish, push, work
from tests.machine import service
from tests.machine.world import World


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a job of a few tasks take several chunks, so that there is something to interrupt."""
    monkeypatch.setattr(collect, "CHUNK", 2)
    monkeypatch.setattr(publish, "CHUNK", 2)
    monkeypatch.setattr(work, "BATCH", 2)
    monkeypatch.setattr(push, "BATCH", 2)
    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=service.transport()))


@pytest.fixture
def world(transactional_db: None) -> World:
    return World()
