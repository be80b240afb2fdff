"""API keys with scopes, and the context that routes work with."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, cast, get_args

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from nearfeed_recommender.context import ApiContext
from nearfeed_recommender.settings import Scope

_bearer = HTTPBearer(auto_error=False, description="an API key")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="an API key")


def context_of(request: Request) -> ApiContext:
    return cast(ApiContext, request.app.state.context)


Context = Annotated[ApiContext, Depends(context_of)]


@dataclass(frozen=True)
class Caller:
    """Who calls, by the name that the audit knows them by, and what they may do."""

    name: str
    scopes: frozenset[Scope]


def caller_of(
    context: Context,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> Caller:
    """Whose key it is; anyone may do everything when no keys are set."""
    keys = context.settings.api_keys
    if not keys:
        return Caller("anyone", frozenset(get_args(Scope)))
    given = bearer.credentials if bearer else header
    if given is None:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "An API key is needed: Authorization: Bearer KEY.")
    for number, (key, scopes) in enumerate(keys.items(), 1):
        if hmac.compare_digest(key.encode(), given.encode()):
            return Caller(f"key:environment-{number}", frozenset(scopes))
    raise HTTPException(HTTPStatus.UNAUTHORIZED, "The API key is not known.")


Calling = Annotated[Caller, Depends(caller_of)]


def _granted(caller: Calling) -> frozenset[Scope]:
    return caller.scopes


def _actor(caller: Calling) -> str:
    return caller.name


Granted = Annotated[frozenset[Scope], Depends(_granted)]
Actor = Annotated[str, Depends(_actor)]


def require(scope: Scope) -> Callable[..., None]:
    """A dependency that lets a call pass when no keys are set, or its key has the scope."""

    def check(granted: Granted) -> None:
        if scope not in granted:
            raise HTTPException(HTTPStatus.FORBIDDEN, f"The API key lacks the scope {scope!r}.")

    return check
