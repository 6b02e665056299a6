"""The API, put together: routers, and every error as a problem document."""

from collections.abc import Sequence
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja.errors import HttpError, ValidationError

from headcount import __version__
from headcount.api import jobs, schemas, work
from headcount.api.authentication import CallerRequest, needs
from headcount.api.documented import DocumentedAPI
from headcount.api.parsing import ObjectParser
from headcount.domain.states import Scope
from headcount.errors import BadInputError, EngineUnavailableError, HeadcountError, TooLargeError
from headcount.problems import problem, problem_response

_log = structlog.get_logger(__name__)
_MOST_COMPLAINTS = 20

api = DocumentedAPI(
    title="Headcount",
    version=__version__,
    urls_namespace="headcount",
    description="Batch jobs for remote workers; every task accounted for; every job ends with the right status.",
    docs_url="/docs",
    parser=ObjectParser(),
)
api.add_router("", jobs.router)
api.add_router("", work.router)


@api.get("/me", response=schemas.CallerOut, auth=needs(*Scope), tags=["tokens"], summary="Whom the token stands for")
def show_caller(request: CallerRequest) -> dict[str, Any]:
    """Return the project and the scopes of the token that came with the request."""
    caller = request.auth
    return {"token_name": caller.token_name, "project_id": caller.project_id, "scopes": sorted(caller.scopes)}


@api.exception_handler(HeadcountError)
def _on_headcount_error(request: HttpRequest, error: HeadcountError) -> HttpResponse:
    return problem_response(error)


@api.exception_handler(ValidationError)
def _on_validation_error(request: HttpRequest, error: ValidationError) -> HttpResponse:
    complaints = [{"where": _place(item["loc"]), "what": item["msg"]} for item in error.errors[:_MOST_COMPLAINTS]]
    first = complaints[0]
    return problem_response(BadInputError(f"{first['where']}: {first['what']}"), errors=complaints)


def _place(location: Sequence[int | str]) -> str:
    """Return where a value stands as its sender knows it: without the source and the name of the view's argument."""
    known_to_sender = location[2:] if location[0] == "body" else location[1:]
    return ".".join(str(part) for part in known_to_sender) or str(location[0])


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, HeadcountError):
        return problem(error.status_code, "The body cannot be read", str(error.__cause__))
    return problem(error.status_code, "", str(error))


@api.exception_handler(Http404)
def _on_not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem(404, "Not found", str(error) or f"there is nothing at {request.path}")


@api.exception_handler(RequestDataTooBig)
def _on_too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return problem_response(TooLargeError("the body is larger than this server reads; post in smaller batches"))


@api.exception_handler(DataError)
def _on_data_error(request: HttpRequest, error: DataError) -> HttpResponse:
    _log.warning("request.not_storable", path=request.path, error=str(error))
    return problem_response(BadInputError("the request holds a text or a number that the database cannot take"))


@api.exception_handler(OperationalError)
@api.exception_handler(InterfaceError)
def _on_database_error(request: HttpRequest, error: Exception) -> HttpResponse:
    _log.warning("database.unavailable", path=request.path, error=str(error))
    return problem_response(EngineUnavailableError("the database does not answer; nothing was lost, try again"))


@api.exception_handler(Exception)
def _on_unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    _log.exception("request.failed", path=request.path, exc_info=error)
    return problem_response(HeadcountError("the server failed on this request; its log says why"))
