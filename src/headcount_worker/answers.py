"""Turn an HTTP answer of the server into what it means for the worker."""

from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from headcount_worker.errors import (
    GoneError,
    NotHeadcountError,
    RefusedError,
    ServerAwayError,
    TokenRefusedError,
    TooLargeError,
)
from headcount_worker.wire import Problem, in_utc

Answer = TypeVar("Answer", bound=BaseModel)

TEMPORARY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
REFUSALS: dict[int, type[RefusedError]] = {
    HTTPStatus.UNAUTHORIZED: TokenRefusedError,
    HTTPStatus.FORBIDDEN: TokenRefusedError,
    HTTPStatus.NOT_FOUND: GoneError,
    HTTPStatus.GONE: GoneError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLargeError,
}


def read_answer(response: httpx.Response, model: type[Answer], now: datetime) -> Answer:
    """Read an accepted answer.

    Raises ServerAwayError for what may pass (5xx, 408, 425, 429), NotHeadcountError for a redirect or for something
    that is not this API, and RefusedError or one of its kinds for every other 4xx.
    """
    if response.is_success:
        return _parsed(response, model)
    if response.has_redirect_location:
        raise NotHeadcountError(f"the server redirects to {response.headers['location']}", status=response.status_code)
    if response.is_client_error and response.status_code not in TEMPORARY:
        raise REFUSALS.get(response.status_code, RefusedError)(explained(response), status=response.status_code)
    raise ServerAwayError(
        explained(response), status=response.status_code, retry_after=retry_after_seconds(response, now)
    )


def explained(response: httpx.Response) -> str:
    """Give one line: the status and, when the answer is a problem document, its own words."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return status
    words = " ".join((problem.detail or problem.title).split())
    return f"{status}: {words}" if words else status


def retry_after_seconds(response: httpx.Response, now: datetime) -> float | None:
    """Give the seconds of a Retry-After header, which may be a number or a date; ``None`` without a usable one."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (in_utc(parsedate_to_datetime(text)) - now).total_seconds())
    except ValueError:
        return None


def _parsed(response: httpx.Response, model: type[Answer]) -> Answer:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise NotHeadcountError("the answer is not one of Headcount's", status=response.status_code) from error
