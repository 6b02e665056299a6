"""What the demo asks the server, over HTTP as any script would."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from headcount.domain.records import StageProgress
from headcount.domain.states import Stage
from headcount.errors import PermanentError, TemporaryError

_TIMEOUT_SECONDS = 60.0


class Client:
    """Talks to one server with one token."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=f"{url}/api/v2/", headers=headers, timeout=_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Return the answer to a GET."""
        return self._answer("GET", path, params=query).json()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the answer to a POST."""
        return self._answer("POST", path, json=body).json()

    def text(self, path: str, **query: Any) -> str:
        """Return the answer to a GET as text."""
        return self._answer("GET", path, params=query).text

    def look(self, job_id: int) -> tuple[str, list[StageProgress]]:
        """Return a job's status and stages."""
        job = self.get(f"jobs/{job_id}")
        stages = [
            StageProgress(Stage(item["stage"]), item["total"], item["done"], item["failed"]) for item in job["stages"]
        ]
        return job["status"], stages

    def failures(self, job_id: int, limit: int) -> list[dict[str, Any]]:
        """Return the first failed tasks of a job, each with ``id`` and ``error``."""
        rows: list[dict[str, Any]] = self.get(f"jobs/{job_id}/ledger", state="failed", limit=limit)["results"]
        return rows

    def detections(self, job_id: int) -> Iterator[dict[str, Any]]:
        """Yield the detections of a job."""
        for line in self.text(f"jobs/{job_id}/export", format="jsonl").splitlines():
            yield json.loads(line)

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise TemporaryError(f"the server does not answer: {error}") from error
        if response.is_error:
            raise PermanentError(f"{method} {path}: {response.status_code}: {_detail(response)}")
        return response


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError):
        return response.text[:200]
