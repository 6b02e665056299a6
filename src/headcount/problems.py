"""Problem documents (RFC 9457): the one form in which an error leaves the HTTP server."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.http import JsonResponse

from headcount.errors import HeadcountError, TemporaryError

CONTENT_TYPE = "application/problem+json"
_RETRY_AFTER_SECONDS = "5"


def problem_response(error: HeadcountError, **members: Any) -> JsonResponse:
    """Return an error as a problem document with its own status and title."""
    response = problem(error.status, error.title, str(error), **members)
    if isinstance(error, TemporaryError):
        response["Retry-After"] = _RETRY_AFTER_SECONDS
    return response


def problem(status: int, title: str, detail: str, **members: Any) -> JsonResponse:
    """Return a problem document; ``members`` are further members beside the standard ones."""
    document: Mapping[str, Any] = {
        "type": "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }
    return JsonResponse(document, status=status, content_type=CONTENT_TYPE)
