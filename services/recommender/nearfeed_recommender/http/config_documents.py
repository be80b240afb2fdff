"""What the admin calls take and give: documents in YAML or JSON, and the version that a change is made to."""

import re
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from pydantic import BaseModel

from nearfeed_contracts.fields import from_micros
from nearfeed_recommender.config.document import Document, json_document, yaml_document
from nearfeed_recommender.config.editor import ConfigStore
from nearfeed_recommender.config.entries import Change
from nearfeed_recommender.config.faults import ConfigError, Fault
from nearfeed_recommender.config.versions import Applied, Author, Reason, Statement
from nearfeed_recommender.http.access import Actor, Context
from nearfeed_recommender.http.problems import FieldError, FieldFault

DOCUMENT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {}, "application/yaml": {}},
    }
}
_ETAG = re.compile(r'(?:W/)?"(\d+)"')


class ChangeOut(BaseModel):
    """An entry that a version has added, changed or removed."""

    kind: str
    name: str
    change: str


class AppliedOut(BaseModel):
    """The version that holds now; without changes it held before."""

    version: int
    changes: list[ChangeOut]


class VersionOut(BaseModel):
    """Who made a version, when and why; version 0, the default, has no time."""

    version: int
    author: str
    reason: str
    applied_at: datetime | None


async def _document(request: Request) -> Document:
    """The body; JSON unless its content type says YAML. Raises ConfigError."""
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError:
        raise ConfigError([Fault("", "is no text in UTF-8")]) from None
    in_yaml = "yaml" in request.headers.get("content-type", "")
    return yaml_document(text) if in_yaml else json_document(text)


def _changing(context: Context, actor: Actor) -> ConfigStore:
    """What is served, to be changed by the caller."""
    return replace(context.configuration, actor=actor)


def _statement(
    author: Annotated[Author, Query(description="who makes the change")],
    reason: Annotated[Reason, Query(description="why, for the history")],
) -> Statement:
    return Statement(author=author, reason=reason)


def _expected(
    if_match: Annotated[
        str | None, Header(description="ETag of the version that the change is made to")
    ] = None,
) -> int | None:
    """The version that must hold; None for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        fault = FieldFault(field="If-Match", message='must be one ETag of a version, such as "3"')
        raise FieldError(HTTPStatus.UNPROCESSABLE_ENTITY, [fault])
    return int(found.group(1))


Changing = Annotated[ConfigStore, Depends(_changing)]
Stated = Annotated[Statement, Depends(_statement)]
Expected = Annotated[int | None, Depends(_expected)]
Given = Annotated[Document, Depends(_document)]


def applied_out(response: Response, applied: Applied) -> AppliedOut:
    set_etag(response, applied.version)
    return AppliedOut(version=applied.version, changes=changes_out(applied.changes))


def changes_out(changes: tuple[Change, ...]) -> list[ChangeOut]:
    return [ChangeOut(**change._asdict()) for change in changes]


def set_etag(response: Response, version: int) -> None:
    response.headers["ETag"] = f'"{version}"'


def version_fields(version: Any) -> dict[str, Any]:
    """The fields that a version of the whole and one of an entry share."""
    return {
        "version": version.version,
        "author": version.author,
        "reason": version.reason,
        "applied_at": from_micros(version.created_at) if version.created_at else None,
    }
