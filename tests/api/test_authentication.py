"""Who may do what."""

import pytest
from django.utils import timezone

from headcount.api.application import api
from headcount.domain.states import Scope
from headcount.flow.finalise import give_up
from headcount.models import Token
from tests.api.callers import Caller, assert_problem
from tests.flow import given

pytestmark = pytest.mark.django_db

READ, WORK, SUBMIT = Scope.READ, Scope.WORK, Scope.SUBMIT
ENDPOINTS = [
    ("GET", "jobs", {READ, WORK}),
    ("POST", "jobs", {SUBMIT}),
    ("GET", "jobs/{job}", {READ}),
    ("POST", "jobs/{job}/cancel", {SUBMIT}),
    ("POST", "jobs/{job}/retry", {SUBMIT}),
    ("GET", "jobs/{job}/events", {READ}),
    ("GET", "jobs/{job}/ledger", {READ}),
    ("GET", "jobs/{job}/audit", {READ}),
    ("GET", "jobs/{job}/diagnosis", {READ}),
    ("GET", "jobs/{job}/export", {READ}),
    ("POST", "jobs/{job}/tasks", {WORK}),
    ("POST", "jobs/{job}/result", {WORK}),
    ("POST", "tasks/claim", {WORK}),
    ("POST", "tasks/extend", {WORK}),
    ("POST", "tasks/release", {WORK}),
    ("POST", "projects/{project}/pipelines", {WORK}),
    ("GET", "projects/{project}/pipelines", {READ, WORK, SUBMIT}),
    ("GET", "me", {READ, WORK, SUBMIT}),
]
OF_A_JOB = [(method, path) for method, path, _ in ENDPOINTS if "{job}" in path]
each_endpoint = pytest.mark.parametrize(
    ("method", "path", "scopes"), ENDPOINTS, ids=[f"{m} {p}" for m, p, _ in ENDPOINTS]
)
slashes = pytest.mark.parametrize("slash", ["", "/"], ids=["no slash", "slash"])
BODIES = {
    "jobs": {"pipeline": given.SLUG, "config": {"collection": "night-0"}},
    "jobs/{job}/result": {"results": []},
    "tasks/claim": {"pipelines": [given.SLUG]},
    "tasks/extend": {"leases": []},
    "tasks/release": {"leases": []},
    "projects/{project}/pipelines": {
        "processing_service_name": "box",
        "pipelines": [{"name": "Blobs", "slug": given.SLUG}],
    },
}


def call(caller, method, path, job, slash=""):
    address = path.format(job=job.id, project=job.project_id) + slash
    return caller.get(address) if method == "GET" else caller.post(address, BODIES.get(path))


def test_the_table_above_names_every_endpoint_there_is():
    paths = api.get_openapi_schema()["paths"]
    documented = {
        (method.upper(), path) for path, item in paths.items() for method in item if method in {"get", "post"}
    }
    named = {
        (method, "/api/v2/" + path.replace("{job}", "{job_id}").replace("{project}", "{project_id}"))
        for method, path, _ in ENDPOINTS
    }
    assert named == documented


@each_endpoint
@slashes
def test_every_endpoint_answers_a_caller_with_a_scope_it_names_with_or_without_a_final_slash(
    caller_with, deployment, job, method, path, scopes, slash
):
    if path.endswith("retry"):
        give_up(deployment, job.ref, "nobody can finish it")
    for scope in scopes:
        assert call(caller_with(scope), method, path, job, slash).status_code in {200, 201}


@each_endpoint
def test_every_endpoint_refuses_a_caller_without_a_token(job, method, path, scopes):
    assert_problem(call(Caller(None), method, path, job), 401, "Authorization: Bearer")


@each_endpoint
def test_every_endpoint_refuses_a_token_nobody_knows(job, method, path, scopes):
    assert_problem(call(Caller("hc_invented"), method, path, job), 401, "nobody knows this token")


@each_endpoint
def test_every_endpoint_refuses_a_revoked_token(caller, job, method, path, scopes):
    Token.objects.update(revoked_at=timezone.now())
    assert_problem(call(caller, method, path, job), 401)


@each_endpoint
def test_every_endpoint_refuses_scopes_it_does_not_name_and_says_which_it_needs(caller_with, job, method, path, scopes):
    others = set(Scope) - scopes
    if others:
        assert_problem(call(caller_with(*others), method, path, job), 403, *[f"'{scope}'" for scope in scopes])


@pytest.mark.parametrize(("method", "path"), OF_A_JOB, ids=[f"{m} {p}" for m, p in OF_A_JOB])
def test_a_job_of_another_project_is_as_unknown_as_one_that_never_was(stranger, job, method, path):
    assert_problem(call(stranger, method, path, job), 404, f"there is no job {job.id} here")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_is_of_no_use_in_another_project(stranger, job, method):
    assert_problem(call(stranger, method, "projects/{project}/pipelines", job), 403, "bound to project")


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "bearer", "TOKEN"])
def test_both_schemes_are_understood(caller, scheme):
    assert Caller(caller.token, scheme).get("me").status_code == 200


@pytest.mark.parametrize("scheme", ["Basic", "Bearer:", ""])
def test_other_schemes_are_not(caller, scheme):
    assert_problem(Caller(caller.token, scheme).get("me"), 401)


@pytest.mark.parametrize("token", ["", " ", "ö", "\x00", "a" * 10_000, "a b"])
def test_a_token_in_no_form_at_all_is_refused_not_stumbled_over(db, token):
    assert_problem(Caller(token).get("me"), 401)


def test_the_token_itself_is_kept_nowhere(caller):
    row = Token.objects.get()
    assert caller.token not in str(row.__dict__)


def test_a_caller_can_ask_whom_its_token_stands_for(caller_with, project_id):
    answer = caller_with(WORK, READ).get("me").json()
    assert answer == {"token_name": "test", "project_id": project_id, "scopes": ["read", "work"]}


def test_another_projects_jobs_are_not_listed_and_their_tasks_not_claimed(stranger, job):
    assert stranger.get("jobs").json() == {"results": []}
    assert stranger.post("tasks/claim", {"pipelines": [given.SLUG]}).json()["tasks"] == []
