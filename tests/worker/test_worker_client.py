from datetime import timedelta

import httpx
import pytest
from structlog.testing import capture_logs
from worker_fakes import problem, task

from headcount_worker.backoff import Backoff
from headcount_worker.client import HeadcountClient
from headcount_worker.errors import (
    GoneError,
    NotHeadcountError,
    RefusedError,
    ServerAwayError,
    StartError,
    TokenRefusedError,
    TooLargeError,
)
from headcount_worker.settings import WorkerSettings, server_address, usable_token, worker_identity
from headcount_worker.wire import PostedResult, TaskError

RESULT = PostedResult(reply_subject="lease-1", result=TaskError(error="no"))


def answering(shared, server, *answers):
    server.interruptions["me"].extend(answers)
    return shared.client.identity()


def test_requests_carry_the_token_and_the_worker(shared, server, settings):
    seen = []

    def answer(request):
        seen.append(request)
        return server.answer(request)

    client = HeadcountClient(settings, transport=httpx.MockTransport(answer))
    server.offer(7, [task(1)], pipeline="moths")
    claimed = client.claim(["moths"], 8, 20)
    client.post_results(7, [RESULT])
    client.close()
    assert [(one.method, one.url.path) for one in seen] == [
        ("POST", "/api/v2/tasks/claim"),
        ("POST", "/api/v2/jobs/7/result"),
    ]
    assert {one.headers["authorization"] for one in seen} == {"Bearer right-token"}
    assert server.bodies("claim") == [
        {"pipelines": ["moths"], "batch_size": 8, "wait_seconds": 20, "worker": "worker-1"}
    ]
    assert server.bodies("result")[0]["worker"] == "worker-1"
    assert (claimed.job_id, claimed.pipeline, claimed.tasks[0].id) == (7, "moths", "1")


def test_a_claim_waits_longer_for_its_answer_than_the_server_waits_for_tasks(settings, server):
    timeouts = []

    def answer(request):
        timeouts.append(request.extensions["timeout"]["read"])
        return server.answer(request)

    client = HeadcountClient(settings, transport=httpx.MockTransport(answer))
    client.claim(["moths"], 8, 50)
    client.close()
    assert timeouts[0] > 50


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, TokenRefusedError),
        (403, TokenRefusedError),
        (404, GoneError),
        (405, RefusedError),
        (408, ServerAwayError),
        (410, GoneError),
        (413, TooLargeError),
        (422, RefusedError),
        (425, ServerAwayError),
        (429, ServerAwayError),
        (500, ServerAwayError),
        (502, ServerAwayError),
        (503, ServerAwayError),
        (504, ServerAwayError),
    ],
)
def test_every_status_has_its_meaning(shared, server, status, kind):
    with pytest.raises((ServerAwayError, RefusedError)) as caught:
        answering(shared, server, problem(status, "because\nof this"))
    assert caught.type is kind
    assert caught.value.status == status
    assert str(caught.value).endswith("because of this")


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), httpx.ReadTimeout(""), httpx.RemoteProtocolError("cut"), httpx.ReadError("reset")],
)
def test_no_answer_means_the_server_is_away(shared, server, error):
    with pytest.raises(ServerAwayError) as caught:
        answering(shared, server, error)
    assert caught.value.status is None
    assert str(caught.value)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="<html>Welcome to the hotel</html>"),
        httpx.Response(200, json={"hello": 1}),
        httpx.Response(204),
        httpx.Response(302, headers={"location": "https://login.test"}),
    ],
)
def test_a_strangers_answer_is_not_taken_for_headcounts(shared, server, response):
    with pytest.raises(NotHeadcountError):
        answering(shared, server, response)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), (" 7 ", 7.0), ("0", 0.0), ("soon", None), ("-5", None), ("", None), ("9" * 400, 999_999_999.0)],
)
def test_retry_after_in_seconds(shared, server, header, seconds):
    with pytest.raises(ServerAwayError) as caught:
        answering(shared, server, problem(429, headers={"retry-after": header}))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(("shift", "seconds"), [(90, 90.0), (-90, 0.0)])
def test_retry_after_as_a_date(shared, server, clock, shift, seconds):
    date = (clock.now() + timedelta(seconds=shift)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    with pytest.raises(ServerAwayError) as caught:
        answering(shared, server, problem(503, headers={"retry-after": date}))
    assert caught.value.retry_after == seconds


def test_the_server_going_and_coming_back_is_said_once_each(shared, server, clock):
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(ServerAwayError):
                answering(shared, server, httpx.ConnectError("refused"))
            clock.seconds += 20
        shared.client.identity()
        shared.client.identity()
    assert [entry["event"] for entry in logs] == ["server away, trying again", "server back"]
    assert logs[1]["away_seconds"] == 60


def test_a_refusal_is_an_answer_and_so_the_server_is_back(shared, server):
    with capture_logs() as logs:
        for answer in (httpx.ConnectError("refused"), problem(422)):
            with pytest.raises((ServerAwayError, RefusedError)):
                answering(shared, server, answer)
    assert logs[-1]["event"] == "server back"


def test_backoff_doubles_to_a_limit_and_leaves_half_to_chance():
    lucky = Backoff(first=1, longest=30, fraction=lambda: 0.0)
    unlucky = Backoff(first=1, longest=30, fraction=lambda: 1.0)
    assert [unlucky.delay(failures) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert [lucky.delay(failures) for failures in (1, 2, 7)] == [0.5, 1, 15]
    assert unlucky.delay(10_000) == 30


def test_backoff_honours_what_the_server_asks_for_within_reason():
    backoff = Backoff(first=1, longest=30, fraction=lambda: 1.0)
    assert backoff.delay(1, 12.0) == 12
    assert backoff.delay(6, 2.0) == 30
    assert backoff.delay(1, 86_400.0) == 300


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("https://h.test", "https://h.test"),
        (" http://h.test:8000/ ", "http://h.test:8000"),
        ("https://h.test/api/v2/", "https://h.test"),
        ("https://h.test/sub", "https://h.test/sub"),
    ],
)
def test_server_addresses(given, address):
    assert server_address(given) == address


@pytest.mark.parametrize("given", ["h.test", "ftp://h.test", "http://", "http://[", "", "http://h.test:port"])
def test_what_is_no_server_address(given):
    with pytest.raises(StartError):
        server_address(given)


@pytest.mark.parametrize("given", ["", "  ", "a b", "a\nb", "töken"])
def test_what_is_no_token(given):
    with pytest.raises(StartError):
        usable_token(given)


def test_a_token_is_not_shown_with_the_settings():
    assert "secret" not in repr(WorkerSettings(server="http://h.test", token=usable_token(" secret\n")))


def test_two_workers_have_two_names():
    assert worker_identity() != worker_identity()
