"""Credentials: made once, shown once, kept as a digest."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from headcount.domain.states import Scope
from headcount.models import Token
from headcount.statements import Statements, from_json

_SQL = Statements("headcount.store.sql")
_PREFIX = "hc_"
_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from: a token of one project."""

    token_name: str
    project_id: int
    scopes: frozenset[Scope]


def create(project_id: int, name: str, scopes: Iterable[Scope]) -> str:
    """Make a token and return its secret text, which is not kept anywhere."""
    secret = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    Token.objects.create(digest=_digest(secret), name=name, project_id=project_id, scopes=sorted(scopes))
    return secret


def caller(secret: str) -> Caller | None:
    """Return whom a token's secret text stands for, None for an unknown or revoked one."""
    found = _SQL.rows("caller", {"digest": _digest(secret)})
    if not found:
        return None
    name, project_id, scopes = found[0]
    return Caller(name, project_id, frozenset(Scope(scope) for scope in from_json(scopes)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
