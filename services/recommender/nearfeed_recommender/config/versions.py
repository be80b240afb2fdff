"""The versions of what is served, in SQL: each is a whole document with its author, time and reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import Connection, Engine, Row, insert, select
from sqlalchemy.exc import IntegrityError

from nearfeed_contracts.errors import ConflictError, NotFoundError
from nearfeed_contracts.fields import MAX_ID, now_micros
from nearfeed_contracts.tables import config_entries, config_versions
from nearfeed_recommender.config.checks import default_config
from nearfeed_recommender.config.entries import Body, Change, Entry, changes_between, entries_of, section_of
from nearfeed_recommender.config.faults import StaleVersionError
from nearfeed_recommender.config.schema import Config, document_of
from nearfeed_runtime.auditing import put_audit
from nearfeed_runtime.sql import committed

MAX_REASON = 1_000
Author = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_ID)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON)]
_ATTEMPTS = 5
_DEFAULT_AUTHOR = "nearfeed"
_DEFAULT_REASON = "what is served until a configuration is applied"


class Statement(BaseModel):
    """Who makes a change, and why."""

    model_config = ConfigDict(frozen=True)

    author: Author
    reason: Reason


@dataclass(frozen=True)
class ConfigVersion:
    """A document as it was applied, at `created_at` in microseconds since 1970; version 0 is the default."""

    version: int
    author: str
    reason: str
    created_at: int
    document: dict[str, Any]


class EntryVersion(NamedTuple):
    """An entry as a version has left it; the document is None where it was removed."""

    version: int
    author: str
    reason: str
    created_at: int
    document: Any


class Applied(NamedTuple):
    """The version that holds now, and what is different from the one before (nothing: it held already)."""

    version: int
    changes: tuple[Change, ...]


def default_version() -> ConfigVersion:
    """Version 0: what is served until a configuration is applied."""
    return ConfigVersion(0, _DEFAULT_AUTHOR, _DEFAULT_REASON, 0, document_of(default_config()))


def newest_version(connection: Connection) -> ConfigVersion:
    """The version that holds."""
    query = select(config_versions).order_by(config_versions.c.version.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return _version(row) if row else default_version()


def version_of(connection: Connection, version: int) -> ConfigVersion:
    """A version by its number. Raises NotFoundError that tells which there are."""
    if version == 0:
        return default_version()
    row = connection.execute(
        select(config_versions).where(config_versions.c.version == version)
    ).one_or_none()
    if row is None:
        newest = newest_version(connection).version
        raise NotFoundError(
            f"There is no version {version} of the configuration; they go from 0 to {newest}."
        )
    return _version(row)


def versions_before(connection: Connection, before: int | None, limit: int) -> list[ConfigVersion]:
    """The newest `limit` versions, newest first and down to 0; with `before` those older than that one."""
    query = select(config_versions).order_by(config_versions.c.version.desc()).limit(limit)
    if before is not None:
        query = query.where(config_versions.c.version < before)
    found = [_version(row) for row in connection.execute(query)]
    with_default = len(found) < limit and before != 0
    return [*found, default_version()] if with_default else found


def history(
    connection: Connection, before: int | None, limit: int
) -> list[tuple[ConfigVersion, tuple[Change, ...]]]:
    """Versions, newest first, each with what it changed."""
    versions = versions_before(connection, before, limit + 1)
    documents: list[Body] = [version.document for version in versions[1:]]
    if len(versions) <= limit:
        documents.append({})
    changed = zip(versions[:limit], documents, strict=False)
    return [(version, changes_between(older, version.document)) for version, older in changed]


def entry_versions(connection: Connection, entry: Entry) -> list[EntryVersion]:
    """The versions in which an entry changed, newest first. Raises NotFoundError where it never was."""
    table = config_entries.c
    query = (
        select(
            table.version,
            config_versions.c.author,
            config_versions.c.reason,
            config_versions.c.created_at,
            table.document,
        )
        .join(config_versions, config_versions.c.version == table.version)
        .where(table.kind == entry.kind, table.name == entry.name)
        .order_by(table.version.desc())
    )
    rows = connection.execute(query)
    found = [EntryVersion(*row[:-1], orjson.loads(row.document or "null")) for row in rows]
    default = default_version()
    body = default.document.get(section_of(entry.kind), {}).get(entry.name)
    if body is not None:
        found.append(EntryVersion(0, default.author, default.reason, 0, body))
    if not found:
        raise NotFoundError(f"There is no {entry.kind} {entry.name!r}, and never was.")
    return found


def store_version(
    engine: Engine,
    config: Config,
    statement: Statement,
    *,
    expected: int | None = None,
    actor: str | None = None,
) -> Applied:
    """Makes a checked configuration the one that holds; one that holds already makes no new version.

    With `expected` only where that version holds. The audit names `actor`, or else the author. Raises
    StaleVersionError, and ConflictError where others were quicker again and again.
    """
    document, now = document_of(config), now_micros()

    def work(transaction: Connection) -> Applied:
        return _store(transaction, document, statement, now, expected, actor or statement.author)

    for _ in range(_ATTEMPTS):
        try:
            return committed(engine, work)
        except IntegrityError:  # another has just taken the number
            continue
    raise ConflictError("Others are changing the configuration at this moment; try again.")


def _store(
    transaction: Connection,
    document: dict[str, Any],
    statement: Statement,
    now: int,
    expected: int | None,
    actor: str,
) -> Applied:
    present = newest_version(transaction)
    changes = changes_between(present.document, document)
    if present.created_at == now and not changes:
        # The same work once more, after a commit whose answer was lost.
        former = version_of(transaction, present.version - 1)
        return Applied(present.version, changes_between(former.document, document))
    if expected not in (None, present.version):
        raise StaleVersionError(
            f"Version {present.version} of the configuration holds, and not {expected}; look at what has "
            "changed, and apply yours to it."
        )
    if changes:
        _insert(transaction, present.version + 1, document, statement, now, changes)
        detail = {**statement.model_dump(), "changes": [change._asdict() for change in changes]}
        put_audit(transaction, actor, "config.apply", f"version {present.version + 1}", detail)
    return Applied(present.version + bool(changes), changes)


def _insert(
    transaction: Connection,
    version: int,
    document: dict[str, Any],
    statement: Statement,
    now: int,
    changes: Sequence[Change],
) -> None:
    row = {"version": version, **statement.model_dump(), "created_at": now}
    transaction.execute(insert(config_versions).values(**row, document=orjson.dumps(document).decode()))
    entries = entries_of(document)
    touched = {Entry(kind, name) for kind, name, _ in changes if kind != "feed"}
    if version == 1:  # a later release may have another default
        touched |= entries.keys()
    rows = [
        {"kind": kind, "name": name, "version": version, "document": entries.get(Entry(kind, name))}
        for kind, name in sorted(touched)
    ]
    if rows:
        transaction.execute(insert(config_entries), rows)


def _version(row: Row[Any]) -> ConfigVersion:
    return ConfigVersion(row.version, row.author, row.reason, row.created_at, orjson.loads(row.document))
