"""API keys with scopes, and the context that routes work with."""

import hmac
from collections.abc import Callable
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


def granted_scopes(
    context: Context,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> frozenset[Scope]:
    """What the call's key allows; everything when no keys are set."""
    keys = context.settings.api_keys
    if not keys:
        return frozenset(get_args(Scope))
    given = bearer.credentials if bearer else header
    if given is None:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "An API key is needed: Authorization: Bearer KEY.")
    scopes = [scopes for key, scopes in keys.items() if hmac.compare_digest(key.encode(), given.encode())]
    if not scopes:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "The API key is not known.")
    return frozenset(scopes[0])


Granted = Annotated[frozenset[Scope], Depends(granted_scopes)]


def require(scope: Scope) -> Callable[..., None]:
    """A dependency that lets a call pass when no keys are set, or its key has the scope."""

    def check(granted: Granted) -> None:
        if scope not in granted:
            raise HTTPException(HTTPStatus.FORBIDDEN, f"The API key lacks the scope {scope!r}.")

    return check
