"""Who may call which route, and the context that routes work with."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from nearfeed_recommender.access.callers import Caller, UnknownCallerError, identify
from nearfeed_recommender.access.rate_limits import seconds_to_wait
from nearfeed_recommender.access.reader_tokens import TokenError
from nearfeed_recommender.api.own_reader import refuse_other_readers
from nearfeed_recommender.context import ApiContext
from nearfeed_recommender.settings import Scope

_bearer = HTTPBearer(auto_error=False, description="an API key, or a reader's own token (JWT)")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="an API key")


async def context_of(request: Request) -> ApiContext:
    return cast(ApiContext, request.app.state.context)


Context = Annotated[ApiContext, Depends(context_of)]


async def caller_of(
    context: Context,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> Caller:
    """Whose call it is, counted; 401 for a key or token that does not hold, 429 for one call too many."""
    try:
        caller = identify(context.access, context.settings, bearer.credentials if bearer else header)
    except (UnknownCallerError, TokenError) as error:
        asked = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(HTTPStatus.UNAUTHORIZED, str(error), asked) from None
    wait = seconds_to_wait(context.access.limiter, caller.counted_as, caller.per_minute)
    if wait:
        told = f"More than {caller.per_minute} calls a minute; try again in {wait} s."
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, told, {"Retry-After": str(wait)})
    return caller


Calling = Annotated[Caller, Depends(caller_of)]


async def _actor(caller: Calling) -> str:
    return caller.name


Actor = Annotated[str, Depends(_actor)]


@dataclass(frozen=True)
class Requirement:
    """A dependency that lets a call pass whose key has the scope; a reader's token for that reader alone."""

    scope: Scope

    async def __call__(self, request: Request, caller: Calling) -> None:
        if self.scope not in caller.scopes:
            what = "API key" if caller.reader is None else "reader's token"
            raise HTTPException(HTTPStatus.FORBIDDEN, f"The {what} lacks the scope {self.scope!r}.")
        if caller.reader is not None:
            await refuse_other_readers(request, caller.reader)


def require(scope: Scope) -> Requirement:
    """The dependency of a route that needs the scope."""
    return Requirement(scope)
