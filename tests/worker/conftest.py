import pytest
import structlog
from worker_fakes import TOKEN, FakeServer, SteppingClock

from headcount_worker.backoff import Backoff
from headcount_worker.client import HeadcountClient
from headcount_worker.logs import configure_logs
from headcount_worker.settings import WorkerSettings
from headcount_worker.shared import Shared
from headcount_worker.stopping import Stopping

BACKOFF = Backoff(first=1.0, longest=30.0, fraction=lambda: 1.0)


@pytest.fixture(autouse=True)
def plain_logs():
    configure_logs(as_json=False)
    yield
    structlog.reset_defaults()


@pytest.fixture
def clock():
    return SteppingClock()


@pytest.fixture
def server():
    return FakeServer()


@pytest.fixture
def settings():
    return WorkerSettings(server="http://server.test", token=TOKEN, worker="worker-1", service_name="bench")


@pytest.fixture
def make_shared(clock, server):
    made = []

    def make(settings):
        client = HeadcountClient(settings, clock, server.transport())
        made.append(client)
        return Shared.around(settings, client, Stopping(), clock, BACKOFF)

    yield make
    for client in made:
        client.close()


@pytest.fixture
def shared(make_shared, settings):
    return make_shared(settings)
