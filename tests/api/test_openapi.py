"""The published document is valid, and the API keeps its promises, whatever it is sent."""

from datetime import timedelta

import hypothesis
import pytest
import schemathesis
from schemathesis import checks

from headcount.domain.states import Scope
from headcount.site.wsgi import application
from headcount.store import tokens
from tests.api.callers import Caller
from tests.flow import given

DOCUMENT = "/api/v2/openapi.json"
PROMISES = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
PROBLEMS = {"401", "403", "422", "503"}

promised = schemathesis.openapi.from_wsgi(DOCUMENT, application)


@pytest.fixture
def document(db):
    return Caller(None).get("openapi.json").json()


@pytest.fixture
def world(transactional_db, deployment, monkeypatch):
    """A job that workers are at, and a token for everything; nobody waits for tasks."""
    hurried = deployment.settings.model_copy(update={"max_wait_seconds": 0.0, "ack_wait": timedelta(days=1)})
    monkeypatch.setitem(deployment.__dict__, "settings", hurried)
    job = given.dispatched(deployment, 20)
    given.claimed(deployment, job, 5)
    return job, {"Authorization": f"Bearer {tokens.create(job.project_id, 'test', list(Scope))}"}


@promised.parametrize()
@pytest.mark.django_db(transaction=True)
@hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_whatever_an_operation_is_sent_it_answers_as_documented(case, world):
    job, headers = world
    for name, number in (("job_id", job.id), ("project_id", job.project_id)):
        if name in case.path_parameters:
            case.path_parameters[name] = number
    case.call_and_validate(headers=headers, checks=PROMISES)


def test_the_document_is_valid_openapi():
    promised.validate()
    assert promised.specification.version.startswith("3.1")


def operations(document):
    return [operation for item in document["paths"].values() for operation in item.values()]


def test_every_operation_says_what_it_is_for_and_which_problems_it_answers_with(document):
    for operation in operations(document):
        assert operation["summary"]
        assert operation["description"]
        assert operation["responses"].keys() >= PROBLEMS


def test_every_problem_is_documented_as_a_problem_document(document):
    for operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]


def test_the_document_says_how_to_authenticate(document):
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert document["security"] == [{"token": []}]


def test_people_find_the_documentation_from_the_front_door(client, db):
    response = client.get("/", follow=True)
    assert response.status_code == 200
    assert "openapi.json" in response.content.decode()
