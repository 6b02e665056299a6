"""Every trouble there is really happens, at the place it names, and the job ends well all the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from headcount.errors import ConfigurationError
from headcount.models import JobEvent
from headcount.testing.chaos.ground import Ground
from headcount.testing.chaos.plan import _OF_DISPATCHER, _OF_WEB, MOST_COSTLY, Place, Plan, Trouble, Word
from headcount.testing.chaos.run import Outcome, run
from tests.chaos.grounds import GROUNDS, fault, planned
from tests.flow.given import with_settings

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.parametrize("engines", GROUNDS)]


def held(ground: Ground, plan: Plan) -> Outcome:
    (outcome,) = run(ground, [plan])
    assert outcome.held, outcome
    return outcome


@pytest.mark.parametrize("trouble", sorted(set(Trouble) - {Trouble.KILL_WEB, Trouble.KILL_DISPATCHER}))
def test_every_trouble_alone_is_survived(engines: str, trouble: Trouble) -> None:
    outcome = held(GROUNDS[engines](), planned(fault(trouble)))
    assert outcome.status == ("REVOKED" if trouble is Trouble.CANCEL else "SUCCESS")


def test_a_broker_that_is_away_while_a_job_is_submitted_gets_it_later(engines: str) -> None:
    with capture_logs() as logs:
        outcome = held(GROUNDS[engines](), planned(fault(Trouble.CUT_BROKER, after=0)))
    postponed = [entry for entry in logs if entry["event"] == "outbox.postponed"]
    assert {(entry["topic"], entry["job"]) for entry in postponed} == {("dispatch", outcome.job_id)}


def test_a_broker_that_is_away_later_is_a_witness_that_is_silent(engines: str) -> None:
    with capture_logs() as logs:
        held(GROUNDS[engines](), planned(fault(Trouble.CUT_BROKER)))
    snapshots = [entry["witnesses"]["dispatcher"] for entry in logs if entry["event"] == "health.snapshot"]
    assert any("does not answer" in (said or {}).get("unknown", "") for said in snapshots)


def test_an_engine_that_can_really_be_cut_off_is_not_silenced_at_its_port(engines: str) -> None:
    ground, cuts = GROUNDS[engines](), []

    @contextmanager
    def cut() -> Iterator[None]:
        assert not any(faults.down for faults in ground.broken.faults.values())
        cuts.append("cut")
        yield
        cuts.append("mended")

    ground.cuts = {"dispatcher": cut}
    held(ground, planned(fault(Trouble.CUT_BROKER, after=0), fault(Trouble.CUT_BROKER)))
    assert cuts == ["cut", "mended"] * 2


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("place", _OF_WEB, ids=str)
def test_a_web_process_dies_at_every_place(engines: str, place: Place, again: bool) -> None:
    outcome = held(GROUNDS[engines](), planned(fault(Trouble.KILL_WEB, place=place, again=again)))
    assert outcome.deaths == 1


@pytest.mark.parametrize("place", _OF_DISPATCHER, ids=str)
def test_a_dispatcher_dies_at_every_place(engines: str, place: Place) -> None:
    outcome = held(GROUNDS[engines](), planned(fault(Trouble.KILL_DISPATCHER, after=0, place=place)))
    assert outcome.deaths == 1


@pytest.mark.parametrize("word", Word)
def test_every_word_is_kept(engines: str, word: Word) -> None:
    outcome = held(GROUNDS[engines](), planned(words=(word,) * 4))
    assert outcome.status == ("SUCCESS" if word is Word.NOTE else "FAILURE")


@pytest.mark.parametrize(
    ("trouble", "event"), [(Trouble.LOSE_QUEUE, "repair.republish"), (Trouble.CANCEL, "tasks.cancelled")]
)
def test_a_trouble_leaves_its_trace_in_the_log(engines: str, trouble: Trouble, event: str) -> None:
    outcome = held(GROUNDS[engines](), planned(fault(trouble)))
    assert JobEvent.objects.filter(job_id=outcome.job_id, name=event).exists()


@pytest.mark.parametrize(
    ("trouble", "line"),
    [
        (Trouble.LOSE_STATE, "state.fallback"),
        (Trouble.RESTART_STATE, "witness.left_behind"),
        (Trouble.RESTART_QUEUE, "witness.left_behind"),
    ],
)
def test_a_witness_that_is_away_or_forgot_is_noticed(engines: str, trouble: Trouble, line: str) -> None:
    with capture_logs() as logs:
        held(GROUNDS[engines](), planned(fault(trouble)))
    assert line in {entry["event"] for entry in logs}


def test_a_deployment_whose_attempts_the_faults_alone_could_spend_is_refused(engines: str) -> None:
    ground = GROUNDS[engines]()
    few = with_settings(ground.whole, max_attempts=MOST_COSTLY)
    with pytest.raises(ConfigurationError, match="HEADCOUNT_MAX_ATTEMPTS"):
        Ground(type(ground.broken)(few, few, ground.broken.faults), ground.take_up, ground.let_pass)
