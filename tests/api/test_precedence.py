"""Results go before claims, and keep none from going on."""

from contextlib import ExitStack
from threading import Event

import pytest

from headcount.api import work
from headcount.api.precedence import Precedence
from headcount.testing.waiting import wait_until
from tests.flow import given
from tests.flow.threads import in_thread

SOON = 10.0
NEVER = 1e6


def begun(precedence):
    """A claim in another thread; says when its turn has come."""
    turn = Event()

    def claim():
        with precedence.claiming():
            turn.set()

    return turn, in_thread(claim)


def waiting(precedence):
    return len(precedence._changed._waiters)


def test_a_claim_with_nothing_else_under_way_begins_at_once():
    precedence = Precedence(NEVER)
    with precedence.claiming():
        assert precedence._under_way == 1
    assert precedence._under_way == 0


def test_a_claim_waits_for_results_to_be_saved():
    precedence = Precedence(NEVER)
    with precedence.saving():
        turn, claim = begun(precedence)
        wait_until(lambda: waiting(precedence) == 1, "the claim steps back")
        assert not turn.is_set()
    claim.result(SOON)
    assert turn.is_set()


def test_claims_are_served_one_after_the_other():
    precedence = Precedence(NEVER)
    together = []

    def claim():
        with precedence.claiming():
            together.append(precedence._under_way)

    with precedence.claiming():
        claims = [in_thread(claim) for _ in range(3)]
        wait_until(lambda: waiting(precedence) == 3, "the claims step back")
    for ended in claims:
        ended.result(SOON)
    assert together == [1, 1, 1]


def test_where_enough_claims_have_stepped_back_a_further_one_goes_on():
    precedence = Precedence(NEVER, places=2)
    with precedence.saving():
        waiting_claims = [begun(precedence) for _ in range(2)]
        wait_until(lambda: waiting(precedence) == 2, "two claims step back")
        turn, claim = begun(precedence)
        claim.result(SOON)
        assert turn.is_set()
        assert not any(turn.is_set() for turn, _ in waiting_claims)
    for _, claim in waiting_claims:
        claim.result(SOON)


def test_results_wait_for_nobody():
    precedence = Precedence(NEVER)
    with ExitStack() as under_way:
        under_way.enter_context(precedence.claiming())
        for _ in range(3):
            under_way.enter_context(precedence.saving())
        assert precedence._under_way == 4
    assert precedence._under_way == 0


def test_a_claim_goes_on_where_saving_takes_too_long():
    precedence = Precedence(0.01)
    with precedence.saving():
        turn, claim = begun(precedence)
        claim.result(SOON)
        assert turn.is_set()
        assert precedence._under_way == 1, "results are still being saved"


def test_a_request_that_fails_keeps_no_claim_waiting():
    precedence = Precedence(NEVER)
    for turn in (precedence.saving, precedence.claiming):
        with pytest.raises(RuntimeError, match="the database"), turn():
            raise RuntimeError("the database is away")
    turn, claim = begun(precedence)
    claim.result(SOON)
    assert turn.is_set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["jobs/{job}/tasks", "tasks/claim"])
def test_a_claim_over_http_steps_back_while_results_are_saved(caller, job, monkeypatch, path):
    precedence = Precedence(NEVER)
    monkeypatch.setattr(work, "_precedence", precedence)
    with precedence.saving():
        claim = in_thread(lambda: caller.post(path.format(job=job.id), {"pipelines": [given.SLUG]}))
        wait_until(lambda: waiting(precedence) == 1, "the claim steps back")
        assert not claim.done()
    assert len(claim.result(SOON).json()["tasks"]) == 4


@pytest.mark.django_db(transaction=True)
def test_posted_results_are_under_way_until_they_are_saved(caller, job, monkeypatch):
    under_way = []
    precedence = Precedence()
    monkeypatch.setattr(work, "_precedence", precedence)
    monkeypatch.setattr(work, "receive", lambda *_: under_way.append(precedence._under_way) or [])
    assert caller.post(f"jobs/{job.id}/result", {"results": []}).status_code == 200
    assert (under_way, precedence._under_way) == ([1], 0)
