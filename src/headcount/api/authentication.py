"""Who may do what: ``Authorization: Bearer <token>`` or ``Token <token>``, with the scope each operation needs."""

from collections.abc import Callable

from django.http import HttpRequest

from headcount.domain.states import Scope
from headcount.errors import ForbiddenError, UnauthorizedError
from headcount.store import tokens
from headcount.store.tokens import Caller

_SCHEMES = frozenset({"bearer", "token"})


class CallerRequest(HttpRequest):
    """A request whose caller is known."""

    auth: Caller


def needs(*scopes: Scope) -> Callable[[HttpRequest], Caller]:
    """Return the check of an operation that any one of these scopes allows.

    Raises:
        UnauthorizedError: no token came, or nobody knows it.
        ForbiddenError: the token has none of the scopes.
    """

    def check(request: HttpRequest) -> Caller:
        caller = authenticate(request)
        if not caller.scopes & set(scopes):
            wanted = " or ".join(f"'{scope}'" for scope in scopes)
            held = ", ".join(sorted(caller.scopes)) or "none"
            raise ForbiddenError(
                f"this needs a token with the scope {wanted}; the token {caller.token_name!r} has {held}"
            )
        return caller

    return check


def authenticate(request: HttpRequest) -> Caller:
    """Return whom the request's token stands for."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in _SCHEMES or not secret.strip():
        raise UnauthorizedError("send the header 'Authorization: Bearer <token>'; 'headcount token create' makes one")
    caller = tokens.caller(secret.strip())
    if caller is None:
        raise UnauthorizedError("nobody knows this token; 'headcount token create' makes one")
    return caller


def same_project(caller: Caller, project_id: int) -> None:
    """Raise ForbiddenError where a token is bound to another project."""
    if caller.project_id != project_id:
        raise ForbiddenError(f"the token is bound to project {caller.project_id}, not to project {project_id}")
