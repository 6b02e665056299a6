"""A Headcount server in memory, a clock that does not wait, and a real HTTP server around the former."""

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event

import httpx

TOKEN = "right-token"
PIXELS = b"pixels"


def task(number, **fields):
    return {
        "id": number,
        "image_id": f"image-{number}",
        "image_url": f"/images/{number}",
        "reply_subject": f"lease-{number}",
        **fields,
    }


def problem(status, detail="", headers=None):
    body = {"type": "about:blank", "title": "Problem", "status": status, "detail": detail}
    return httpx.Response(status, json=body, headers=headers)


class SteppingClock:
    """Time that stands still but for waits, which it grants at once.

    ``waits`` are the seconds that were asked for; ``on_wait`` is called after each.
    """

    def __init__(self):
        self.seconds = 0.0
        self.waits = []
        self.on_wait = lambda: None

    def now(self):
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self):
        return self.seconds

    def wait(self, event, seconds):
        self.waits.append(seconds)
        if not event.is_set():
            self.seconds += seconds or 0.0
        self.on_wait()
        return event.is_set()


class FakeServer:
    """Answers the worker's requests from memory.

    ``interruptions[route]`` are answers to give first: a response, or an exception to raise. Routes: me, register,
    claim, result, extend, release, image.
    """

    def __init__(self, ack_wait_seconds=30.0):
        self.ack_wait_seconds = ack_wait_seconds
        self.batches = deque()
        self.interruptions = defaultdict(deque)
        self.calls = []
        self.posted = []
        self.released = []
        self.extended = []
        self.lost = {}
        self.result_filter: Callable[[list], httpx.Response | None] = lambda results: None
        self._changed = threading.Condition()

    def offer(self, job_id, tasks, **fields):
        self.batches.append({"job_id": job_id, "tasks": list(tasks), **fields})

    def count(self, route):
        return sum(1 for called, _ in self.calls if called == route)

    def bodies(self, route):
        return [body for called, body in self.calls if called == route]

    def posted_leases(self):
        return sorted(result["reply_subject"] for _, result in self.posted)

    def wait_for(self, condition, seconds=20):
        with self._changed:
            assert self._changed.wait_for(condition, seconds), f"never came: {[route for route, _ in self.calls]}"

    def transport(self):
        return httpx.MockTransport(self.answer)

    def answer(self, request):
        route = _route(request)
        with self._changed:
            try:
                return self._answered(route, request)
            finally:
                self._changed.notify_all()

    def _answered(self, route, request):
        body = json.loads(request.content) if request.content else None
        self.calls.append((route, body))
        if self.interruptions[route]:
            answer = self.interruptions[route].popleft()
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                return answer
        if route == "image":
            return httpx.Response(200, content=PIXELS)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return problem(401, "unknown token")
        return getattr(self, f"_{route}")(request, body)

    def _me(self, _request, _body):
        return httpx.Response(200, json={"project_id": 1, "scopes": ["work"]})

    def _register(self, _request, body):
        return httpx.Response(200, json={"pipelines": body["pipelines"]})

    def _claim(self, _request, _body):
        batch = self.batches.popleft() if self.batches else {"job_id": None, "tasks": []}
        return httpx.Response(200, json={"ack_wait_seconds": self.ack_wait_seconds, **batch})

    def _result(self, request, body):
        refused = self.result_filter(body["results"])
        if refused is not None:
            return refused
        job_id = int(request.url.path.split("/")[-2])
        self.posted += [(job_id, result) for result in body["results"]]
        tasks = [{"reply_subject": one["reply_subject"], "status": "saved"} for one in body["results"]]
        answer = {"status": "accepted", "job_id": job_id, "results_queued": len(tasks), "tasks": tasks}
        return httpx.Response(200, json=answer)

    def _extend(self, _request, body):
        self.extended += body["leases"]
        return self._lease_answers(body["leases"], "extended")

    def _release(self, _request, body):
        self.released += body["leases"]
        return self._lease_answers(body["leases"], "released")

    def _lease_answers(self, leases: Iterable[str], status):
        answers = [{"reply_subject": lease, "status": self.lost.get(lease, status)} for lease in leases]
        return httpx.Response(200, json={"leases": answers})


def _route(request):
    path = request.url.path
    if path.startswith("/images/"):
        return "image"
    last = path.removeprefix("/api/v2/").split("/")[-1]
    return {"pipelines": "register"}.get(last, last)


class Gate:
    """A place where a pipeline in another process waits until the test lets it on."""

    def __init__(self):
        self.reached = Event()
        self.open = Event()

    def answer(self, _request):
        self.reached.set()
        assert self.open.wait(30)
        return httpx.Response(200, text="go on")


class RealServer:
    """Serves a fake's answers on a real port; stopped, the port refuses connections."""

    def __init__(self, fake):
        self._fake = fake
        self._server = self._thread = None
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self._fake))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


def _handler(fake):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            url = f"http://{self.headers['host']}{self.path}"
            request = httpx.Request(self.command, url, headers=dict(self.headers), content=body)
            response = fake.answer(request)
            self.send_response(response.status_code)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_POST = do_GET  # noqa: N815 - the name http.server looks for

        def log_message(self, *_arguments):
            pass

    return Handler
