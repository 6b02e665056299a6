"""What every request passes: an optional final slash, a limit to the body, and one form for every error."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from headcount.errors import BadInputError, TooLargeError
from headcount.problems import CONTENT_TYPE, problem, problem_response

_Handler = Callable[[HttpRequest], HttpResponse]
_FIRST_ERROR_STATUS = 400
_LONGEST_SHOWN_PATH = 200


def errors_are_problems(handle: _Handler) -> _Handler:
    """Turn the errors that Django answers by itself, with a page or with nothing, into problem documents."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = handle(request)
        if response.status_code < _FIRST_ERROR_STATUS or response.get("Content-Type") == CONTENT_TYPE:
            return response
        described = problem(response.status_code, "", _what_is_wrong(request, response))
        if "Allow" in response:
            described["Allow"] = response["Allow"]
        return described

    return middleware


def _what_is_wrong(request: HttpRequest, response: HttpResponse) -> str:
    if response.status_code == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {request.path[:_LONGEST_SHOWN_PATH]}; /api/v2/docs shows what there is"
    if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not possible here; send {response.get('Allow', 'another method')}"
    return f"the server answers {response.reason_phrase}"


def trailing_slash_is_optional(handle: _Handler) -> _Handler:
    """Let ``/api/v2/jobs/`` and ``/api/v2/jobs`` be the same: workers in the field use either."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/api/"):
            request.path_info = request.path_info.rstrip("/")
        return handle(request)

    return middleware


def limit_body(handle: _Handler) -> _Handler:
    """Refuse a body larger than the deployment reads, before it is read."""

    def middleware(request: HttpRequest) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdigit():
            return problem_response(BadInputError(f"Content-Length is not a number: {length!r}"))
        limit = settings.HEADCOUNT.max_body_bytes
        if int(length) > limit:
            detail = f"the body has {length} bytes, at most {limit} are read; post the results in smaller batches"
            return problem_response(TooLargeError(detail), limit=limit)
        return handle(request)

    return middleware
