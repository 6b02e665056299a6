"""The OpenAPI document: what ninja derives from the code, with the token and the problem documents added."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from headcount.problems import CONTENT_TYPE

_ANY_REQUEST = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)
_ANY_REQUEST_AS_WELL = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_WITH_BODY = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_WITH_PATH = (HTTPStatus.NOT_FOUND,)
_METHODS = frozenset({"get", "post", "put", "patch", "delete"})

_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong, in the form of RFC 9457; some problems have further members.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "The class of problem, the same for every occurrence."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong here, and what would be right."},
    },
}


class DocumentedAPI(NinjaAPI):
    """An API that documents what all of its operations have in common."""

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the document; each operation names the problems it can answer with."""
        document = super().get_openapi_schema(**options)
        components = document["components"]
        components.setdefault("schemas", {})["Problem"] = _PROBLEM
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for path, operation in _operations(document):
            for status in _problems(path, operation):
                operation["responses"].setdefault(int(status), problem_answer(status))
        return document


def _operations(document: OpenAPISchema) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        yield from ((path, operation) for method, operation in item.items() if method in _METHODS)


def _problems(path: str, operation: dict[str, Any]) -> Iterator[HTTPStatus]:
    yield from _ANY_REQUEST
    if "{" in path:
        yield from _WITH_PATH
    if "requestBody" in operation:
        yield from _WITH_BODY
    yield from _ANY_REQUEST_AS_WELL


def problem_answer(status: HTTPStatus) -> dict[str, Any]:
    """Return how a problem document with this status is documented."""
    return {
        "description": status.phrase,
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
