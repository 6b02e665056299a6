"""Plain HTTP clients on threads, in place of workers: they claim, post, and keep nothing in mind.

What has no answer because a test killed who should have given it is asked again, as the worker SDK does; only a
``Crew`` forgets it, for the tests of what is lost.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from types import TracebackType
from typing import Any, Self

import httpx

from headcount.testing.waiting import wait_until
from tests.flow.given import SLUG, output

Task = dict[str, Any]
FINAL = {"SUCCESS", "FAILURE", "REVOKED"}
DETECTIONS = 2
_PATIENCE_SECONDS = 60


class Api:
    """The HTTP API of a deployment at one of its addresses; close it in the end."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self.url = url
        self.token = token
        self._client = httpx.Client(base_url=f"{url}/api/v2/", headers=headers, timeout=60, verify=False)

    def close(self) -> None:
        self._client.close()

    def send(self, path: str, body: Any) -> httpx.Response:
        """Post once, whatever comes of it."""
        return self._client.post(path, json=body)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        """Post until there is an answer; twice is as good as once for all that workers post."""
        return self._answered(lambda: self.send(path, body), httpx.TransportError)

    def get(self, path: str) -> dict[str, Any]:
        return self._answered(lambda: self._client.get(path), httpx.TransportError)

    def offer_pipeline(self) -> int:
        """Offer the pipeline of the tests; returns the project's id."""
        project_id = int(self.get("me")["project_id"])
        offer = {"processing_service_name": "box", "pipelines": [{"name": "Blobs", "slug": SLUG, "version": "1"}]}
        self.post(f"projects/{project_id}/pipelines", offer)
        return project_id

    def submit(self, collection: str) -> int:
        """Submit a job; posted again only where nobody took the first one, for each post makes a job."""
        body = {"kind": "ml", "pipeline": SLUG, "config": {"collection": collection}}
        return int(self._answered(lambda: self.send("jobs", body), httpx.ConnectError)["id"])

    def status(self, job_id: int) -> str:
        return str(self.get(f"jobs/{job_id}")["status"])

    def is_final(self, job_id: int) -> bool:
        return self.status(job_id) in FINAL

    def claim(self, job_id: int, number: int) -> list[Task]:
        """Claim until so many tasks are here: publishing may still go on."""
        tasks: list[Task] = []

        def have_come() -> bool:
            tasks.extend(self.post(f"jobs/{job_id}/tasks", {"batch_size": number - len(tasks)})["tasks"])
            return len(tasks) == number

        wait_until(have_come, f"{number} tasks of job {job_id} can be claimed", 60)
        return tasks

    def post_results(self, job_id: int, results: Sequence[Any]) -> list[dict[str, Any]]:
        """Post results; returns the answer to each."""
        answers: list[dict[str, Any]] = self.post(f"jobs/{job_id}/result", {"results": list(results)})["tasks"]
        return answers

    def _answered(self, ask: Callable[[], httpx.Response], may_be_repeated: type[Exception]) -> dict[str, Any]:
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            with suppress(may_be_repeated):
                answers.append(ask())
            return bool(answers)

        wait_until(is_answered, f"{self.url} answers", _PATIENCE_SECONDS)
        response = answers[0]
        assert response.is_success, f"{response.url}: {response.status_code}: {response.text[:500]}"
        answer: dict[str, Any] = response.json()
        return answer


def success(task: Task) -> dict[str, Any]:
    return {"reply_subject": task["reply_subject"], "result": output(task["image_id"], DETECTIONS)}


def failure(task: Task, image_id: str | None = None) -> dict[str, Any]:
    """An error, for the image of the task or one that is named."""
    result = {"error": "out of memory", "image_id": image_id or task["image_id"]}
    return {"reply_subject": task["reply_subject"], "result": result}


def statuses(answers: Iterable[dict[str, Any]]) -> Counter[str]:
    return Counter(str(answer["status"]) for answer in answers)


def all_at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make calls on a thread each, let go at one moment; returns their answers, or raises what one raised."""
    barrier = threading.Barrier(len(calls))
    answers: dict[int, Any] = {}
    errors: list[Exception] = []

    def call(number: int) -> None:
        try:
            barrier.wait()
            answers[number] = calls[number]()
        except Exception as error:  # noqa: BLE001 - it is raised below, where the test sees it
            errors.append(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [answers[number] for number in range(len(calls))]


class Crew:
    """Workers of one job, a thread each, until the job has ended.

    What is posted without an answer is forgotten, as by a worker that crashed: its tasks come back only because the
    deployment hands them out again. ``hold_at`` has the workers stand still before they post, each with a batch in
    hand, once so many results are saved. A worker that was given nothing asks again after a ``pause`` in seconds.
    """

    def __init__(self, api: Api, job_id: int, *, workers: int, batch: int, hold_at: int | None, pause: float) -> None:
        self._api = api
        self._job_id = job_id
        self._batch = batch
        self._hold_at = hold_at
        self._pause = pause
        self._lock = threading.Lock()
        self._may_post = threading.Event()
        self._dismissed = threading.Event()
        self._held = 0
        self._threads = [threading.Thread(target=self._work) for _ in range(workers)]
        self._posting = 0
        self.saved = 0
        self.lost = 0
        self.refused: Counter[int] = Counter()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._dismissed.set()
        self._may_post.set()
        for thread in self._threads:
            thread.join()

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._threads)

    @property
    def posting(self) -> int:
        """How many workers wait for the answer to a post."""
        return self._posting

    def wait_until_held(self) -> None:
        """Return once every worker stands still with a batch in hand."""
        wait_until(lambda: self._held == len(self._threads), "every worker holds a batch", 60)

    def go_on(self) -> None:
        """Have held workers post, and never hold them again."""
        self._may_post.set()

    def wait_for_saved(self, number: int) -> None:
        wait_until(lambda: self.saved >= number, f"{number} results are saved", 60)

    def _work(self) -> None:
        with closing(Api(self._api.url, self._api.token)) as api:
            while not self._dismissed.is_set():
                tasks = self._ask(api, f"jobs/{self._job_id}/tasks", {"batch_size": self._batch}).get("tasks")
                if tasks:
                    self._hold()
                    self._post(api, tasks)
                else:
                    self._dismissed.wait(self._pause)

    def _hold(self) -> None:
        if self._hold_at is not None and self.saved >= self._hold_at:
            with self._lock:
                self._held += 1
            self._may_post.wait()

    def _post(self, api: Api, tasks: Sequence[Task]) -> None:
        with self._lock:
            self._posting += 1
        answer = self._ask(api, f"jobs/{self._job_id}/result", {"results": [success(task) for task in tasks]})
        with self._lock:
            self._posting -= 1
            self.saved += statuses(answer.get("tasks", []))["saved"]
            self.lost += 0 if answer else len(tasks)

    def _ask(self, api: Api, path: str, body: Any) -> dict[str, Any]:
        """Return the answer, an empty one where there was none."""
        try:
            response = api.send(path, body)
        except httpx.TransportError:
            return {}
        if not response.is_success:
            with self._lock:
                self.refused[response.status_code] += 1
            return {}
        answer: dict[str, Any] = response.json()
        return answer
