"""A reader's own token opens what is theirs: whatever a call names as `user_id` must be that reader.

The name is looked for in path, query and body of every call, so that no route can forget to.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import Request

from nearfeed_recommender.http.problems import FieldError, FieldFault

USER_ID = "user_id"
_OTHER = "is another reader; a reader's token is for that reader alone"


async def refuse_other_readers(request: Request, reader: str) -> None:
    """Raises FieldError with each field that names another reader."""
    found = [USER_ID for value in _in_url(request) if value != reader]
    found += [path for path, value in users_in_body(await _body(request)) if value != reader]
    refuse_fields(found)


def refuse_fields(fields: list[str]) -> None:
    """Raises FieldError with fields that name another reader, if there are any."""
    if fields:
        raise FieldError(HTTPStatus.FORBIDDEN, [FieldFault(field=name, message=_OTHER) for name in fields])


def _in_url(request: Request) -> list[str]:
    in_path = [request.path_params[USER_ID]] if USER_ID in request.path_params else []
    return in_path + request.query_params.getlist(USER_ID)


async def _body(request: Request) -> Any:
    """The body as the route gets it, which has been parsed already where the route takes JSON."""
    if not await request.body():
        return None
    try:
        return await request.json()
    except (ValueError, RecursionError):
        fault = FieldFault(field="body", message="must be JSON")
        raise FieldError(HTTPStatus.UNPROCESSABLE_ENTITY, [fault]) from None


def users_in_body(body: Any) -> Iterator[tuple[str, Any]]:
    """Each value of that name with its path, such as `events.3.user_id`, however deep it stands."""
    left: list[tuple[str, Any]] = [("", body)]
    while left:
        path, part = left.pop()
        inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for step, value in inner:
            at = f"{path}.{step}" if path else str(step)
            if step == USER_ID:
                yield at, value
            left.append((at, value))
