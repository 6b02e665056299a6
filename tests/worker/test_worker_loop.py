import threading

import httpx
import pytest
from structlog.testing import capture_logs
from worker_fakes import TOKEN, FakeServer, problem, task

from headcount_worker import Detection, pipeline
from headcount_worker.backoff import Backoff
from headcount_worker.loop import Worker
from headcount_worker.settings import WorkerSettings
from headcount_worker.stopping import Stopping

SOON = Backoff(first=0.001, longest=0.01)
HELPERS = {"headcount-prefetch", "headcount-post", "headcount-leases"}


@pytest.fixture(autouse=True)
def every_thread_ends():
    """A thread that was there before belongs to somebody else of this process, such as a shared deployment."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("headcount")]
    assert left == []


@pytest.fixture
def stopping():
    return Stopping()


@pytest.fixture
def work(server, stopping):
    def work(function, *, batch=False, token=TOKEN, **settings):
        made = pipeline(slug="moths", batch=batch)(function)
        told = WorkerSettings(
            server="http://server.test", token=token, **{"exit_when_idle": 0, "linger_seconds": 0, **settings}
        )
        return Worker(told, [made], stopping, backoff=SOON, transport=server.transport()).run()

    return work


@pytest.fixture
def start(work):
    """Run the worker in another thread; give a function that joins it and gives the exit code."""
    started = []

    def start(function, **settings):
        codes = []
        thread = threading.Thread(target=lambda: codes.append(work(function, **settings)))
        thread.start()
        started.append(thread)

        def join():
            thread.join(20)
            assert not thread.is_alive()
            return codes[0]

        return join

    yield start
    for thread in started:
        thread.join(20)


class Blocking:
    """A pipeline that waits in its first image until it is let go."""

    def __init__(self):
        self.begun = threading.Event()
        self.go = threading.Event()
        self.seen = []

    def __call__(self, image):
        self.seen.append(image.id)
        self.begun.set()
        assert self.go.wait(20)
        return []


def results(server):
    return {one["reply_subject"]: one["result"] for _, one in server.posted}


def test_everything_offered_is_worked_on_and_posted(work, server):
    server.offer(7, [task(1), task(2)])
    server.offer(8, [task(3)])
    assert work(lambda _image: [Detection.at(0, 0, 1, 1, label="moth")], service_name="bench") == 0
    assert server.posted_leases() == ["lease-1", "lease-2", "lease-3"]
    assert [job for job, one in server.posted if one["reply_subject"] == "lease-3"] == [8]
    assert results(server)["lease-1"]["detections"][0]["classifications"][0]["classification"] == "moth"
    assert server.released == []
    (registration,) = server.bodies("register")
    assert registration["processing_service_name"] == "bench"
    assert registration["pipelines"][0]["slug"] == "moths"


def test_a_batch_function_gets_its_batch(work, server):
    sizes = []

    def find(images):
        sizes.append(len(images))
        return [[] for _ in images]

    server.offer(7, [task(1), task(2), task(3)])
    work(find, batch=True)
    assert sizes == [3]
    assert len(server.posted) == 3


def test_an_exception_is_that_tasks_error(work, server):
    def find(image):
        if image.id == "image-1":
            raise ValueError("not a moth")
        return []

    server.offer(7, [task(1), task(2)])
    assert work(find) == 0
    assert results(server)["lease-1"] == {"error": "ValueError: not a moth", "image_id": "image-1"}
    assert "error" not in results(server)["lease-2"]


def test_the_next_batch_is_claimed_and_downloaded_during_work(start, server):
    blocking = Blocking()
    server.offer(7, [task(1)])
    server.offer(7, [task(2)])
    join = start(blocking)
    assert blocking.begun.wait(20)
    server.wait_for(lambda: server.count("image") == 2)
    assert blocking.seen == ["image-1"]
    assert {thread.name for thread in threading.enumerate()} >= HELPERS
    blocking.go.set()
    assert join() == 0
    assert server.posted_leases() == ["lease-1", "lease-2"]


def test_no_more_than_one_batch_is_claimed_ahead(start, server):
    blocking = Blocking()
    for number in range(1, 6):
        server.offer(7, [task(number)])
    join = start(blocking, once=False)
    server.wait_for(lambda: server.count("image") == 2)
    assert server.count("claim") == 2
    blocking.go.set()
    join()
    assert len(server.posted) == 5


def test_leases_are_extended_during_work(start, server):
    server.ack_wait_seconds = 0.03
    blocking = Blocking()
    server.offer(7, [task(1)])
    join = start(blocking)
    server.wait_for(lambda: server.extended.count("lease-1") >= 3)
    blocking.go.set()
    join()
    assert server.posted_leases() == ["lease-1"]


def test_a_task_whose_lease_is_lost_is_not_begun(start, server):
    server.ack_wait_seconds = 0.03
    server.lost = {"lease-2": "cancelled"}
    blocking = Blocking()
    server.offer(7, [task(1), task(2), task(3)])
    join = start(blocking)
    server.wait_for(lambda: server.extended.count("lease-1") >= 2)
    blocking.go.set()
    assert join() == 0
    assert blocking.seen == ["image-1", "image-3"]
    assert server.posted_leases() == ["lease-1", "lease-3"]


def test_draining_finishes_the_image_in_work_and_releases_the_rest(start, server, stopping):
    blocking = Blocking()
    server.offer(7, [task(1), task(2)])
    server.offer(7, [task(3)])
    join = start(blocking, exit_when_idle=None)
    assert blocking.begun.wait(20)
    server.wait_for(lambda: server.count("image") == 3)
    stopping.drain("test")
    blocking.go.set()
    assert join() == 0
    assert blocking.seen == ["image-1"]
    assert server.posted_leases() == ["lease-1"]
    assert sorted(server.released) == ["lease-2", "lease-3"]


def test_a_server_that_is_away_for_a_while_costs_no_result(work, server):
    server.interruptions["result"].extend(
        [httpx.ConnectError("refused"), problem(503), httpx.ReadTimeout(""), problem(502)] * 3
    )
    server.interruptions["claim"].extend([None, httpx.ConnectError("refused")])
    server.offer(7, [task(1), task(2)])
    server.offer(7, [task(3)])
    assert work(lambda _image: [], exit_when_idle=0.2) == 0
    assert server.posted_leases() == ["lease-1", "lease-2", "lease-3"]


def test_nothing_is_claimed_beyond_the_limit_of_unposted_results(start, server):
    server.result_filter = lambda _results: problem(503)
    for number in range(1, 9):
        server.offer(7, [task(number)])
    worked = []
    join = start(lambda image: worked.append(image.id) or [], unposted_limit=2, exit_when_idle=0.05)
    server.wait_for(lambda: server.count("result") > 20)
    assert len(worked) <= 4
    server.result_filter = lambda _results: None
    assert join() == 0
    assert len(server.posted) == 8


def test_results_that_cannot_be_posted_in_time_are_told_and_cost_the_exit_code(work, server):
    server.result_filter = lambda _results: problem(503)
    server.offer(7, [task(1)])
    with capture_logs() as logs:
        assert work(lambda _image: [], once=True, drain_seconds=0.05) == 1
    assert logs[-1]["event"].startswith("results lost")
    assert logs[-1]["count"] == 1


@pytest.mark.parametrize("route", ["me", "register", "claim", "result"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_ends_the_worker_with_one_line_and_code_2(work, server, route, status):
    server.interruptions[route].append(problem(status, "token revoked"))
    server.offer(7, [task(1)])
    with capture_logs() as logs:
        assert work(lambda _image: []) == 2
    said = [entry for entry in logs if entry["event"] == "stopping"]
    assert len(said) == 1
    assert "token revoked" in said[0]["reason"]


def test_a_wrong_token_ends_the_worker_at_its_start(work, server):
    assert work(lambda _image: [], token="wrong") == 2
    assert [route for route, _ in server.calls] == ["me"]


@pytest.mark.parametrize(
    ("route", "answer"),
    [
        ("me", problem(404)),
        ("me", httpx.Response(200, text="<html>")),
        ("me", httpx.Response(301, headers={"location": "https://other.test"})),
        ("register", problem(422, "bad slug")),
    ],
)
def test_a_server_that_will_never_do_ends_the_worker_at_its_start(work, server, route, answer):
    server.interruptions[route].append(answer)
    assert work(lambda _image: []) == 2
    assert server.count("claim") == 0


def test_a_server_that_is_away_at_the_start_is_waited_for(work, server):
    server.interruptions["me"].extend([httpx.ConnectError("refused"), problem(503)])
    server.interruptions["register"].append(problem(502))
    with capture_logs() as logs:
        assert work(lambda _image: []) == 0
    assert [entry["event"] for entry in logs[:2]] == ["server away, trying again", "server back"]


def test_draining_ends_the_wait_for_a_server_that_is_away_at_the_start(start, server, stopping):
    server.interruptions["me"].extend([httpx.ConnectError("refused")] * 100_000)
    join = start(lambda _image: [])
    server.wait_for(lambda: server.count("me") > 3)
    stopping.drain("test")
    assert join() == 0
    assert server.count("register") == 0


def test_a_prefetcher_that_breaks_ends_the_worker_and_never_hangs_it(work, server):
    server.interruptions["claim"].extend([None, ZeroDivisionError("bug")])
    server.offer(7, [task(1)])
    with capture_logs() as logs:
        assert work(lambda _image: []) == 1
    assert any(entry["event"] == "stopping after an error nobody foresaw" for entry in logs)


def test_after_a_keeper_that_breaks_what_is_computed_is_still_posted(work, server, stopping):
    server.ack_wait_seconds = 0.01
    server.offer(7, [task(1), task(2)])

    def find(_image):
        server.interruptions["extend"].append(ZeroDivisionError("bug"))
        assert stopping.draining.wait(20)
        return []

    assert work(find) == 1
    assert server.posted_leases() == ["lease-1"]
    assert server.released == ["lease-2"]


def test_a_poster_that_breaks_ends_the_worker(work, server):
    server.interruptions["result"].append(ZeroDivisionError("bug"))
    server.offer(7, [task(1)])
    assert work(lambda _image: []) == 1


def test_the_fake_server_refuses_a_wrong_token():
    server = FakeServer()
    request = httpx.Request("GET", "http://server.test/api/v2/me", headers={"authorization": "Bearer wrong"})
    assert server.answer(request).status_code == 401
