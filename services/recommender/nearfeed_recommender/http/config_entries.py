"""What is served, entry by entry: each page, provider, model and relation by itself."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.fields import Id
from nearfeed_recommender.config.editor import delete_entry, put_entry
from nearfeed_recommender.config.entries import KINDS, Entry, EntryKind, section_of
from nearfeed_recommender.config.versions import entry_versions, newest_version
from nearfeed_recommender.http.access import Context, require
from nearfeed_recommender.http.config_documents import (
    DOCUMENT_BODY,
    AppliedOut,
    Changing,
    Expected,
    Given,
    Stated,
    VersionOut,
    applied_out,
    set_etag,
    version_fields,
)
from nearfeed_runtime.sql import read_connection

router = APIRouter(prefix="/v1/admin", tags=["config"], dependencies=[Depends(require("admin"))])
Name = Annotated[Id, Path(description="the entry's name")]


class EntryOut(BaseModel):
    """An entry of the version that holds, which the ETag names."""

    name: str
    version: int
    document: dict[str, Any]


class EntryVersionOut(VersionOut):
    """An entry as a version has left it; null where it was removed."""

    document: dict[str, Any] | None


class EntryHistoryOut(BaseModel):
    """The versions in which an entry changed, newest first."""

    versions: list[EntryVersionOut]


def _get_versions(kind: EntryKind) -> Callable[..., EntryHistoryOut]:
    def get_versions(context: Context, name: Name) -> EntryHistoryOut:
        with read_connection(context.engine) as connection:
            found = entry_versions(connection, Entry(kind, name))
        return EntryHistoryOut(
            versions=[EntryVersionOut(**version_fields(each), document=each.document) for each in found]
        )

    return get_versions


def _get_entry(kind: EntryKind) -> Callable[..., EntryOut]:
    def get_entry(context: Context, response: Response, name: Name) -> EntryOut:
        with read_connection(context.engine) as connection:
            present = newest_version(connection)
        body = present.document.get(section_of(kind), {}).get(name)
        if body is None:
            raise NotFoundError(f"There is no {kind} {name!r}.")
        set_etag(response, present.version)
        return EntryOut(name=name, version=present.version, document=body)

    return get_entry


def _put_entry(kind: EntryKind) -> Callable[..., AppliedOut]:
    def put(
        store: Changing,
        response: Response,
        name: Name,
        document: Given,
        statement: Stated,
        expected: Expected,
    ) -> AppliedOut:
        """The body is the entry, in JSON, or in YAML with `content-type: application/yaml`.

        It makes a new version of the whole, which is checked as a whole.
        """
        applied = put_entry(store, Entry(kind, name), document, statement, expected)
        return applied_out(response, applied)

    return put


def _delete_entry(kind: EntryKind) -> Callable[..., AppliedOut]:
    def delete(
        store: Changing, response: Response, name: Name, statement: Stated, expected: Expected
    ) -> AppliedOut:
        """Refused while another entry names it."""
        applied = delete_entry(store, Entry(kind, name), statement, expected)
        return applied_out(response, applied)

    return delete


for _kind in KINDS:
    _path = f"/{section_of(_kind)}/{{name:path}}"
    router.get(f"{_path}/versions", summary=f"Versions of a {_kind}")(_get_versions(_kind))
    router.get(_path, summary=f"A {_kind}")(_get_entry(_kind))
    router.put(_path, summary=f"Add or change a {_kind}", openapi_extra=DOCUMENT_BODY)(_put_entry(_kind))
    router.delete(_path, summary=f"Remove a {_kind}")(_delete_entry(_kind))
