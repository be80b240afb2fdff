"""Who may call which route, and the context that routes work with."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from nearfeed_recommender.access.callers import Caller, UnknownCallerError, identify, seconds_to_wait
from nearfeed_recommender.access.reader_tokens import TokenError
from nearfeed_recommender.admission.appends import Appends
from nearfeed_recommender.admission.control import Admission
from nearfeed_recommender.http.context import ApiContext
from nearfeed_recommender.http.own_user import refuse_other_readers
from nearfeed_recommender.settings import Scope

BEARER = HTTPBearer(auto_error=False, description="an API key, or a reader's own token (JWT)")
KEY_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="an API key")
_CALLER = "nearfeed.caller"


async def context_of(request: Request) -> ApiContext:
    return cast(ApiContext, request.app.state.context)


Context = Annotated[ApiContext, Depends(context_of)]


async def _reads_of(request: Request) -> Admission:
    return cast(Admission, request.app.state.admissions.reads)


async def _writes_of(request: Request) -> Admission:
    return cast(Admission, request.app.state.admissions.writes)


Reads = Annotated[Admission, Depends(_reads_of)]
Writes = Annotated[Admission, Depends(_writes_of)]


async def _appends_of(request: Request) -> Appends:
    return cast(Appends, request.app.state.appends)


Appending = Annotated[Appends, Depends(_appends_of)]


async def caller_of(request: Request) -> Caller:
    """Whose call it is; 401 for a key or token that is not valid, 429 above the rate limit.

    The caller is kept in the request's scope, so that a call is identified and counted once. It reads the
    headers itself: the solver of FastAPI takes about 10 µs for each dependency of a dependency.
    """
    found = request.scope.get(_CALLER)
    if found is None:
        found = request.scope[_CALLER] = await _identified(request)
    return cast(Caller, found)


async def _identified(request: Request) -> Caller:
    context = await context_of(request)
    bearer = await BEARER(request)
    given = bearer.credentials if bearer else await KEY_HEADER(request)
    try:
        caller = identify(context.access, context.settings, given)
    except (UnknownCallerError, TokenError) as error:
        asked = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(HTTPStatus.UNAUTHORIZED, str(error), asked) from None
    wait = seconds_to_wait(context.access.limiter, caller.counted_as, caller.per_minute)
    if wait:
        detail = f"More than {caller.per_minute} calls a minute; try again in {wait} s."
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(wait)})
    return caller


Calling = Annotated[Caller, Depends(caller_of)]


async def _actor(caller: Calling) -> str:
    return caller.name


Actor = Annotated[str, Depends(_actor)]


@dataclass(frozen=True)
class Requirement:
    """A dependency that lets a call pass whose key has the scope; a reader's token for that reader alone."""

    scope: Scope

    async def __call__(self, request: Request) -> None:
        caller = await caller_of(request)
        if self.scope not in caller.scopes:
            what = "API key" if caller.reader is None else "reader's token"
            raise HTTPException(HTTPStatus.FORBIDDEN, f"The {what} lacks the scope {self.scope!r}.")
        if caller.reader is not None:
            await refuse_other_readers(request, caller.reader)


def require(scope: Scope) -> Requirement:
    """The dependency of a route that needs the scope."""
    return Requirement(scope)
