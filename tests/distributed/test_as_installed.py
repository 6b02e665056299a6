"""The product's own patience: leases of 30 seconds and a health check each minute, as a deployment has them at first.

The other tests set both short, so that what they wait for comes soon.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from headcount.conf import Settings
from tests.distributed.accidents import held_crew, nats_is_killed_for_a_while, web_process_dies_at_work
from tests.distributed.live import Live, live
from tests.distributed.site import Servers, new_site, up
from tests.distributed.timing import Took

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("as installed")]

TASKS, WORKERS, BATCH = 400, 8, 20
PAUSE_SECONDS = 0.5
LEASE_SECONDS, HEALTH_SECONDS = 30, 60
GRACE_SECONDS = 10
"""What a busy machine may take beyond a lease."""


@pytest.fixture(scope="module")
def installed(private: Servers, rabbitmq_url: str) -> Iterator[Live]:
    """A whole deployment that is told where its servers are and nothing of how patient it is to be."""
    with new_site(private, HEADCOUNT_BROKER_URL=rabbitmq_url) as made:
        site = made.as_patient_as_installed()
        with up(site) as url, live(site, url) as running:
            yield running


def test_leases_and_health_checks_are_as_long_as_these_tests_take_them_to_be() -> None:
    defaults = [Settings.model_fields[name].default for name in ("ack_wait", "health_interval")]
    assert defaults == [timedelta(seconds=LEASE_SECONDS), timedelta(seconds=HEALTH_SECONDS)]


def test_tasks_lost_with_a_killed_web_process_are_done_again_within_the_lease_of_an_installation(
    installed: Live, took: Took
) -> None:
    with held_crew(installed, TASKS, workers=WORKERS, batch=BATCH, pause=PAUSE_SECONDS) as (job_id, crew):
        web_process_dies_at_work(installed, crew, enough=TASKS // 2)
        with took("web process killed to final"):
            installed.wait_until_final(job_id, within=LEASE_SECONDS + GRACE_SECONDS)
    assert crew.lost > 0, "posts were never answered, and nobody posted them again"
    assert crew.saved == TASKS
    installed.evidence.assert_exact(job_id, saved=TASKS)


def test_a_killed_nats_that_comes_back_lets_the_job_of_an_installation_end_within_a_minute(
    installed: Live, took: Took
) -> None:
    with held_crew(installed, TASKS, workers=WORKERS, batch=BATCH, pause=PAUSE_SECONDS) as (job_id, crew):
        assert len(installed.api.claim(job_id, BATCH)) == BATCH, "a worker that never comes back holds some"
        nats_is_killed_for_a_while(installed.site.servers.nats, crew)
        with took("NATS back to final"):
            installed.wait_until_final(job_id, within=60)
    assert set(crew.refused) == {503}
    installed.evidence.assert_exact(job_id, saved=TASKS)
