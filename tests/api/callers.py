"""A caller of the API with a token, and what its problem documents must look like."""

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

PROBLEM = "application/problem+json"


class Caller:
    """Talks JSON with one token; ``scheme`` is the word before it."""

    def __init__(self, token: str | None, scheme: str = "Bearer") -> None:
        self.token = token
        headers = {"Authorization": f"{scheme} {token}"} if token is not None else {}
        self._client = Client(headers=headers)

    def get(self, path: str, **query: Any) -> HttpResponse:
        return self._client.get(f"/api/v2/{path}", query)

    def post(self, path: str, body: Any = None) -> HttpResponse:
        return self.post_text(path, json.dumps({} if body is None else body))

    def post_text(self, path: str, text: str | bytes) -> HttpResponse:
        return self._client.post(f"/api/v2/{path}", text, content_type="application/json")

    def request(self, method: str, path: str) -> HttpResponse:
        return self._client.generic(method, f"/api/v2/{path}")

    def claim(self, job_id: int, size: int = 8) -> list[dict[str, Any]]:
        """Claim tasks of one job, as a worker of the first generation does."""
        response = self.post(f"jobs/{job_id}/tasks/", {"batch_size": size})
        assert response.status_code == 200, response.content
        return response.json()["tasks"]

    def post_results(self, job_id: int, results: list[Any]) -> dict[str, Any]:
        """Post results of one job."""
        response = self.post(f"jobs/{job_id}/result/", {"results": results})
        assert response.status_code == 200, response.content
        return response.json()


def assert_problem(response: HttpResponse, status: int, *words: str) -> dict[str, Any]:
    """The answer is a problem document with this status, and its detail contains these words."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == PROBLEM
    document = response.json()
    assert document["status"] == status
    assert document["title"]
    assert document["type"] == "about:blank"
    for word in words:
        assert word in document["detail"], document["detail"]
    assert "\n" not in document["detail"]
    return document
