"""Errors as RFC 9457 problem details that name the field."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from nearfeed_contracts.errors import (
    BackendUnavailableError,
    ConflictError,
    NearfeedError,
    NotFoundError,
)
from nearfeed_recommender.catalog.writes import UnknownCommunityError, UnknownItemError
from nearfeed_recommender.config.faults import ConfigError, StaleVersionError
from nearfeed_recommender.http.middleware import SECURITY_HEADERS
from nearfeed_recommender.serving.feed import InvalidCursorError
from nearfeed_recommender.serving.rankings import ExpiredCursorError

logger = structlog.get_logger(__name__)
_RETRY_SECONDS = "1"
_TAGS_OF_SHAPES = {"one", "many"}
_STATUS: dict[type[NearfeedError], HTTPStatus] = {
    ExpiredCursorError: HTTPStatus.GONE,
    NotFoundError: HTTPStatus.NOT_FOUND,
    StaleVersionError: HTTPStatus.PRECONDITION_FAILED,
    ConflictError: HTTPStatus.CONFLICT,
    BackendUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    NearfeedError: HTTPStatus.BAD_REQUEST,
}
_FIELD: dict[type[NearfeedError], str] = {
    UnknownCommunityError: "community_id",
    UnknownItemError: "item_id",
    InvalidCursorError: "cursor",
    ExpiredCursorError: "cursor",
}
_NO_JSON = (RecursionError, UnicodeDecodeError)


class FieldFault(BaseModel):
    """A field by its path, such as `events.3.kind`, and what is wrong with it."""

    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldFault] = []


class FieldError(NearfeedError):
    """A fault that only the service can see, of a field that the client sent."""

    def __init__(self, status: HTTPStatus, faults: Sequence[FieldFault]) -> None:
        super().__init__(f"{faults[0].field}: {faults[0].message}")
        self.status = status
        self.faults = list(faults)


def problem(status: HTTPStatus, detail: str, faults: Sequence[FieldFault] = ()) -> JSONResponse:
    """The response of a problem; 503 says when to try again."""
    body = Problem(title=status.phrase, status=status, detail=detail, errors=list(faults))
    headers = {"Retry-After": _RETRY_SECONDS} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


def install_problem_handlers(app: FastAPI) -> None:
    """Makes every error of the app a problem; none shows a stack trace."""
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(NearfeedError, _nearfeed_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(SQLAlchemyError, _database_error)
    app.add_exception_handler(Exception, _unexpected)


def _invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [FieldFault(field=_field(fault), message=_message(fault)) for fault in error.errors()]
    detail = f"{faults[0].field}: {faults[0].message}"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, faults)


def _nearfeed_error(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, FieldError):
        return problem(error.status, str(error), error.faults)
    if isinstance(error, ConfigError):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), _config_faults(error))
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    fields = [field for kind, field in _FIELD.items() if isinstance(error, kind)]
    faults = [FieldFault(field=field, message=str(error).removeprefix(f"{field}: ")) for field in fields]
    return problem(status, str(error), faults)


def _config_faults(error: ConfigError) -> list[FieldFault]:
    return [
        FieldFault(
            field=fault.path or "body",
            message=f"{fault.message} (line {fault.line})" if fault.line else fault.message,
        )
        for fault in error.faults
    ]


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, _NO_JSON):
        fault = FieldFault(field="body", message=f"is no JSON: {_message_of(error.__cause__)}")
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{fault.field}: {fault.message}", [fault])
    answer = problem(HTTPStatus(error.status_code), str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _message_of(error: BaseException) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else "it is not in UTF-8"


def _database_error(_: Request, error: Exception) -> JSONResponse:
    logger.error("database failed", error=str(error))
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer; try again.")


def _unexpected(_: Request, error: Exception) -> JSONResponse:
    logger.error("request failed", exc_info=error)
    answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "An unexpected error; it has been logged.")
    answer.headers.update(SECURITY_HEADERS)  # it is made outside of the middleware
    return answer


def _field(fault: dict[str, Any]) -> str:
    path = [str(part) for part in fault["loc"][1:]]
    while path and path[0] in _TAGS_OF_SHAPES:
        path.pop(0)
    if fault["type"] == "json_invalid":
        return "body"
    return ".".join(path) or "body"


def _message(fault: dict[str, Any]) -> str:
    if fault["type"] == "json_invalid":
        return f"is no JSON: {fault.get('ctx', {}).get('error', 'it cannot be read')}"
    return str(fault["msg"]).removeprefix("Value error, ")
