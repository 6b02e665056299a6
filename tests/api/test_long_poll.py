"""Claims that wait for tasks."""

import threading
import time

import pytest

from headcount.api import work
from headcount.testing.waiting import wait_until
from tests.flow import given
from tests.flow.threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True)

SOON = 10.0
NEVER = 1e6


@pytest.fixture
def places(monkeypatch):
    """A single waiting place, and whether somebody waits in it."""
    monkeypatch.setattr(work, "_waiting_places", threading.BoundedSemaphore(1))
    return lambda: work._waiting_places._value == 0


@pytest.fixture
def deadline(deployment, monkeypatch):
    """Lets a test set the longest wait there is."""

    def at_most(seconds):
        changed = deployment.settings.model_copy(update={"max_wait_seconds": seconds})
        monkeypatch.setitem(deployment.__dict__, "settings", changed)

    return at_most


def waiting_claim(caller, seconds):
    """The tasks of a claim and how long it took."""
    begun = time.monotonic()
    response = caller.post("tasks/claim", {"pipelines": [given.SLUG], "wait_seconds": seconds})
    assert response.status_code == 200
    return response.json()["tasks"], time.monotonic() - begun


def test_a_waiting_claim_answers_when_tasks_arrive(caller, deployment, project_id, places):
    claim = in_thread(lambda: waiting_claim(caller, 30))
    wait_until(places, "the claim waits")
    assert not claim.done()
    given.dispatched(deployment, 3, project_id)
    tasks, seconds = claim.result(SOON)
    assert len(tasks) == 3
    assert seconds < SOON


def test_a_waiting_claim_ends_empty_when_its_time_is_over(caller, project_id):
    tasks, seconds = waiting_claim(caller, 0.4)
    assert tasks == []
    assert 0.4 <= seconds < SOON


def test_no_claim_waits_longer_than_the_deployment_allows(caller, project_id, deadline):
    deadline(0.4)
    tasks, seconds = waiting_claim(caller, 1000)
    assert tasks == []
    assert 0.4 <= seconds < SOON


def test_a_claim_that_finds_tasks_does_not_wait(caller, job):
    tasks, seconds = waiting_claim(caller, 30)
    assert len(tasks) == 4
    assert seconds < SOON


def test_where_every_place_is_taken_a_claim_waits_for_one_look_only(caller, project_id, places):
    assert work._waiting_places.acquire(blocking=False)
    tasks, seconds = waiting_claim(caller, 30)
    assert tasks == []
    assert seconds < SOON


def test_a_waiting_claim_answers_with_the_news_and_not_with_its_next_look(
    caller, deployment, project_id, places, monkeypatch
):
    monkeypatch.setattr(work, "_LOOK_EVERY_SECONDS", NEVER)
    claim = in_thread(lambda: waiting_claim(caller, 30))
    wait_until(places, "the claim waits")
    given.dispatched(deployment, 3, project_id)
    tasks, seconds = claim.result(SOON)
    assert len(tasks) == 3
    assert seconds < SOON


def test_tasks_that_come_between_a_look_and_the_wait_are_not_missed(caller, deployment, project_id, monkeypatch):
    monkeypatch.setattr(work, "_LOOK_EVERY_SECONDS", NEVER)
    look, looks = work._claim_any, []

    def look_just_before(claimer, limit):
        looks.append(limit)
        if len(looks) > 1:
            return look(claimer, limit)
        given.dispatched(deployment, 3, project_id)
        return None

    monkeypatch.setattr(work, "_claim_any", look_just_before)
    tasks, seconds = waiting_claim(caller, 30)
    assert (len(tasks), len(looks)) == (3, 2)
    assert seconds < SOON


def test_a_claim_gives_its_place_back(caller, project_id, places):
    for _ in range(2):
        waiting_claim(caller, 0.01)
        assert not places()


def test_every_waiting_claim_answers_when_the_process_stops(caller, project_id, places, monkeypatch):
    monkeypatch.setattr(work, "_stopping", threading.Event())
    claim = in_thread(lambda: waiting_claim(caller, 30))
    wait_until(places, "the claim waits")
    work.end_waiting()
    tasks, seconds = claim.result(SOON)
    assert tasks == []
    assert seconds < SOON
