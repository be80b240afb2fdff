"""`/v1/admin`: a command that is typed while this process holds the data folder is carried out here.

Only for callers on this machine who can read the token in the folder. The answer is one JSON object
a line: the steps, and for a failure `{"step": "error", "text": ...}` at the end.
"""

import hmac
import inspect
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Annotated, Any

import orjson
import structlog
from fastapi import APIRouter, Body, Depends, Header, HTTPException, Request
from fastapi.responses import StreamingResponse

from nearfeed_contracts.errors import NearfeedError
from nearfeed_runtime.operations import Operation, Step, step_to_json

NDJSON = "application/x-ndjson"
ERROR = "error"
_UNEXPECTED = "The server has met an unexpected error; its log says more."

logger = structlog.get_logger(__name__)


def make_router(operations: Mapping[str, Operation], token: str) -> APIRouter:
    """Routes that carry out `operations` for callers who know the token."""
    router = APIRouter(prefix="/v1/admin", include_in_schema=False, dependencies=[Depends(_only_with(token))])

    @router.post("/operations/{name}")
    def run(name: str, arguments: Annotated[dict[str, Any], Body()]) -> StreamingResponse:
        if name not in operations:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no operation {name!r}.")
        operation = operations[name]
        _check_arguments(name, operation, arguments)
        return StreamingResponse(_lines(name, operation(**arguments)), media_type=NDJSON)

    return router


def _only_with(token: str) -> Callable[..., None]:
    def check(request: Request, authorization: Annotated[str, Header()] = "") -> None:
        host = request.client.host if request.client else ""
        if not _is_loopback(host):
            raise HTTPException(HTTPStatus.FORBIDDEN, "Only callers on this machine may do this.")
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "The token of the data folder is needed.")

    return check


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_arguments(name: str, operation: Operation, arguments: Mapping[str, Any]) -> None:
    try:
        inspect.signature(operation).bind(**arguments)
    except TypeError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"Operation {name!r}: {error}.") from None


def _lines(name: str, steps: Iterator[Step]) -> Iterator[bytes]:
    try:
        for step in steps:
            yield _line(step_to_json(step))
    except NearfeedError as error:
        yield _line({"step": ERROR, "text": str(error)})
    except Exception:
        logger.exception("operation failed", operation=name)
        yield _line({"step": ERROR, "text": _UNEXPECTED})


def _line(body: Mapping[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
