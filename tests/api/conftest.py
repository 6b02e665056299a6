"""The API as its callers see it, on a deployment whose clock stands still."""

import pytest

from headcount import wiring
from headcount.domain.states import Scope
from headcount.store import tokens
from tests.api.callers import Caller
from tests.flow import given


@pytest.fixture(autouse=True)
def _one_deployment(deployment, monkeypatch):
    """The views use the deployment of the test, and none of the one before."""
    wiring.deployment.cache_clear()
    monkeypatch.setattr(wiring, "build", lambda settings: deployment)
    yield
    wiring.deployment.cache_clear()


@pytest.fixture
def project_id(db):
    return given.project()


@pytest.fixture
def caller_with(project_id):
    """Callers of the project, by the scopes of their token."""

    def make(*scopes: Scope, project: int = project_id) -> Caller:
        return Caller(tokens.create(project, "test", scopes))

    return make


@pytest.fixture
def caller(caller_with):
    """A caller who may do everything in the project."""
    return caller_with(*Scope)


@pytest.fixture
def stranger(caller_with):
    """A caller who may do everything in another project."""
    return caller_with(*Scope, project=given.project("bees"))


@pytest.fixture
def job(deployment, project_id):
    """A job of four tasks that wait for workers."""
    return given.dispatched(deployment, 4, project_id)
