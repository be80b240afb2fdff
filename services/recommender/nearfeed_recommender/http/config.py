"""What is served, as a whole: the document, its history, and the way back."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from nearfeed_recommender.config.editor import apply_document, roll_back
from nearfeed_recommender.config.versions import Statement, history, newest_version, version_of
from nearfeed_recommender.http.access import Context, require
from nearfeed_recommender.http.config_documents import (
    DOCUMENT_BODY,
    AppliedOut,
    ChangeOut,
    Changing,
    Expected,
    Given,
    Stated,
    VersionOut,
    applied_out,
    changes_out,
    set_etag,
    version_fields,
)
from nearfeed_runtime.sql import read_connection

router = APIRouter(prefix="/v1/admin/config", tags=["config"], dependencies=[Depends(require("admin"))])
MAX_VERSIONS = 100
Version = Annotated[int, Path(ge=0, description="a version's number; 0 is the default")]


class DocumentOut(VersionOut):
    """A version with its document."""

    document: dict[str, Any]


class PastOut(VersionOut):
    """A version with what it changed."""

    changes: list[ChangeOut]


class HistoryOut(BaseModel):
    """Versions, newest first; `before` continues with the older ones, and is null at the end."""

    versions: list[PastOut]
    before: int | None


class RollbackIn(Statement):
    """The version to go back to, by whom and why."""

    version: int = Field(ge=0)


@router.get("", summary="The served configuration")
def get_config(context: Context, response: Response) -> DocumentOut:
    with read_connection(context.engine) as connection:
        found = newest_version(connection)
    set_etag(response, found.version)
    return DocumentOut(**version_fields(found), document=found.document)


@router.put("", summary="Replace the configuration", openapi_extra=DOCUMENT_BODY)
def put_config(
    store: Changing, response: Response, document: Given, statement: Stated, expected: Expected
) -> AppliedOut:
    """The body is the document, in JSON, or in YAML with `content-type: application/yaml`.

    It holds whole or not at all, in every process within two seconds.
    """
    return applied_out(response, apply_document(store, document, statement, expected))


@router.get("/history", summary="Versions of the configuration, newest first")
def get_history(
    context: Context,
    limit: Annotated[int, Query(ge=1, le=MAX_VERSIONS)] = 20,
    before: Annotated[int | None, Query(ge=0, description="only versions older than this one")] = None,
) -> HistoryOut:
    with read_connection(context.engine) as connection:
        found = history(connection, before, limit)
    versions = [
        PastOut(**version_fields(version), changes=changes_out(changes)) for version, changes in found
    ]
    more = versions[-1].version if versions else 0
    return HistoryOut(versions=versions, before=more or None)


@router.get("/versions/{version}", summary="A version")
def get_version(context: Context, version: Version) -> DocumentOut:
    with read_connection(context.engine) as connection:
        found = version_of(connection, version)
    return DocumentOut(**version_fields(found), document=found.document)


@router.post("/rollback", summary="Roll back to a version")
def post_rollback(store: Changing, response: Response, wanted: RollbackIn, expected: Expected) -> AppliedOut:
    """Its document becomes a new version, checked as any other."""
    statement = Statement(author=wanted.author, reason=wanted.reason)
    return applied_out(response, roll_back(store, wanted.version, statement, expected))
