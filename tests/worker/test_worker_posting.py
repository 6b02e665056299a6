import threading

import httpx
import pytest
from structlog.testing import capture_logs
from worker_fakes import problem

from headcount_worker.errors import TokenRefusedError
from headcount_worker.outbox import Outbox, Parcel
from headcount_worker.poster import Poster
from headcount_worker.wire import PostedResult, TaskError, TaskOutput


def output(number):
    result = TaskOutput(pipeline="p", total_time=0, source_images=[], detections=[])
    return PostedResult(reply_subject=f"lease-{number}", result=result)


def outputs(*numbers):
    return [output(number) for number in numbers]


@pytest.fixture
def post_all(shared):
    """Post what is put in, and everything that comes of it."""

    def post_all(job_id, results):
        shared.book.hold([result.reply_subject for result in results], 30)
        shared.outbox.add(job_id, results)
        shared.outbox.close()
        Poster(shared).run()

    return post_all


def test_results_of_one_job_go_together_and_in_order():
    outbox = Outbox(10)
    outbox.add(1, outputs(1, 2))
    outbox.add(1, outputs(3))
    outbox.add(2, outputs(4))
    outbox.close()
    assert [outbox.take(), outbox.take(), outbox.take()] == [
        Parcel(1, tuple(outputs(1, 2, 3))),
        Parcel(2, tuple(outputs(4))),
        None,
    ]


def test_a_parcel_has_a_limit_and_one_that_came_back_does_not_grow():
    outbox = Outbox(1000)
    outbox.add(1, outputs(*range(150)))
    assert [len(outbox.take().results), len(outbox.take().results)] == [100, 50]
    outbox.put_back(Parcel(1, tuple(outputs(1, 2))).singles())
    outbox.add(1, outputs(3))
    assert [len(outbox.take().results) for _ in range(3)] == [1, 1, 1]


def test_room_is_counted_until_results_are_settled():
    outbox = Outbox(2)
    outbox.add(1, outputs(1, 2))
    parcel = outbox.take()
    assert not outbox.has_room()
    outbox.put_back([parcel])
    assert outbox.unsettled == 2
    outbox.settle(outbox.take())
    assert outbox.has_room()


def test_taking_waits_for_a_result():
    outbox = Outbox(2)
    taken = []
    taker = threading.Thread(target=lambda: taken.append(outbox.take()))
    taker.start()
    outbox.add(1, outputs(1))
    taker.join(10)
    assert [parcel.job_id for parcel in taken] == [1]


def test_accepted_results_are_settled_and_their_leases_dropped(shared, server, post_all):
    with capture_logs() as logs:
        post_all(7, outputs(1, 2))
    assert server.posted_leases() == ["lease-1", "lease-2"]
    assert server.posted[0][0] == 7
    assert shared.outbox.unsettled == 0
    assert shared.book.to_extend() == []
    assert (logs[0]["event"], logs[0]["answers"]) == ("posted", "2 saved")


def test_a_first_generation_answer_is_enough(shared, server, post_all):
    answer = {"status": "accepted", "job_id": 7, "results_queued": 2}
    server.interruptions["result"].append(httpx.Response(200, json=answer))
    post_all(7, outputs(1, 2))
    assert server.count("result") == 1
    assert shared.outbox.unsettled == 0


def test_a_rejected_result_is_a_warning_with_its_reason(server, post_all):
    answer = {"reply_subject": "lease-1", "status": "rejected", "task_id": 5, "reason": "no such image"}
    body = {"status": "accepted", "job_id": 7, "results_queued": 0, "tasks": [answer]}
    server.interruptions["result"].append(httpx.Response(200, json=body))
    with capture_logs() as logs:
        post_all(7, outputs(1))
    assert logs[-1] == {
        "event": "result rejected",
        "log_level": "warning",
        "job_id": 7,
        "task_id": "5",
        "reason": "no such image",
    }


@pytest.mark.parametrize(
    "away",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout(""),
        problem(502),
        problem(503),
        httpx.Response(200, text="<html>maintenance</html>"),
        httpx.Response(302, headers={"location": "/maintenance"}),
    ],
)
def test_while_the_server_is_away_nothing_is_lost(shared, server, clock, post_all, away):
    server.interruptions["result"].extend([away] * 8)
    post_all(7, outputs(1, 2))
    assert server.posted_leases() == ["lease-1", "lease-2"]
    assert clock.waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert shared.outbox.unsettled == 0


def test_patience_begins_anew_after_a_success(shared, server, clock, post_all):
    server.interruptions["result"].extend([problem(503), problem(503), None, problem(503)])
    shared.outbox.add(8, outputs(9))
    post_all(7, outputs(1))
    assert clock.waits == [1, 2, 1]


def test_retry_after_is_honoured(server, clock, post_all):
    server.interruptions["result"].append(problem(429, headers={"retry-after": "45"}))
    post_all(7, outputs(1))
    assert clock.waits == [45]
    assert server.posted_leases() == ["lease-1"]


def test_a_post_that_is_too_large_is_halved(server, post_all):
    server.result_filter = lambda results: problem(413) if len(results) > 2 else None
    post_all(7, outputs(1, 2, 3, 4, 5))
    assert server.posted_leases() == [f"lease-{number}" for number in (1, 2, 3, 4, 5)]
    assert [len(body["results"]) for body in server.bodies("result")] == [5, 2, 3, 1, 2]


@pytest.mark.parametrize("status", [400, 422, 413])
def test_one_refused_result_does_not_take_others_down_and_becomes_an_error(shared, server, post_all, status):
    def refuse(results):
        bad = any(one["reply_subject"] == "lease-2" and "error" not in one["result"] for one in results)
        return problem(status, "no such label") if bad else None

    server.result_filter = refuse
    post_all(7, outputs(1, 2, 3))
    assert server.posted_leases() == ["lease-1", "lease-2", "lease-3"]
    results = {one["reply_subject"]: one["result"] for _, one in server.posted}
    assert "no such label" in results["lease-2"]["error"]
    assert "error" not in results["lease-3"]
    assert shared.outbox.unsettled == 0


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_post_is_repeated_one_by_one(server, post_all, status):
    server.interruptions["result"].append(problem(status))
    post_all(7, outputs(1, 2, 3, 4))
    assert [len(body["results"]) for body in server.bodies("result")] == [4, 1, 1, 1, 1]


def test_an_error_that_is_refused_too_is_dropped(shared, server, post_all):
    server.result_filter = lambda _results: problem(422, "no")
    with capture_logs() as logs:
        post_all(7, [PostedResult(reply_subject="lease-1", result=TaskError(error="sad"))])
    assert server.count("result") == 1
    assert logs[-1]["event"] == "results dropped"
    assert shared.outbox.unsettled == 0
    assert shared.book.to_extend() == []


@pytest.mark.parametrize("status", [404, 410])
def test_results_of_a_job_that_is_gone_are_dropped_with_a_warning(shared, server, post_all, status):
    server.interruptions["result"].append(problem(status, "no such job"))
    with capture_logs() as logs:
        post_all(7, outputs(1, 2))
    assert server.posted == []
    assert (logs[-1]["log_level"], logs[-1]["count"]) == ("warning", 2)
    assert shared.outbox.unsettled == 0


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_ends_the_worker_and_the_results_count_as_lost(shared, server, post_all, status):
    server.interruptions["result"].append(problem(status, "token revoked"))
    with capture_logs() as logs:
        post_all(7, outputs(1, 2))
    assert isinstance(shared.stopping.error, TokenRefusedError)
    assert shared.stopping.abandoned.is_set()
    assert shared.outbox.unsettled == 2
    assert [(entry["event"], "token revoked" in entry["reason"]) for entry in logs] == [("stopping", True)]


def test_a_result_the_server_breaks_on_does_not_hold_back_the_others(shared, server, clock):
    def break_on_two(results):
        if any(one["reply_subject"] == "lease-2" for one in results):
            if server.count("result") > 30:
                shared.stopping.abandon()
            return problem(500)
        return None

    server.result_filter = break_on_two
    shared.outbox.add(7, outputs(1, 2, 3, 4))
    shared.outbox.close()
    Poster(shared).run()
    assert server.posted_leases() == ["lease-1", "lease-3", "lease-4"]
    assert shared.outbox.unsettled == 1


def test_a_server_that_breaks_for_a_while_loses_nothing(server, post_all):
    server.interruptions["result"].extend([problem(500)] * 20)
    post_all(7, outputs(1, 2, 3, 4))
    assert server.posted_leases() == ["lease-1", "lease-2", "lease-3", "lease-4"]


def test_results_gather_for_a_moment_to_share_a_request(shared, server, clock):
    def compute_one_more():
        shared.outbox.add(7, outputs(2))
        shared.outbox.close()

    clock.on_wait = compute_one_more
    shared.outbox.add(7, outputs(1))
    Poster(shared).run()
    assert clock.waits == [0.5]
    assert [len(body["results"]) for body in server.bodies("result")] == [2]


def test_what_is_abandoned_is_not_posted(shared, server, post_all):
    shared.stopping.abandon()
    post_all(7, outputs(1))
    assert server.posted == []
    assert shared.outbox.unsettled == 1
