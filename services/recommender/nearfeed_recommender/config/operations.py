"""What an operator may ask of the configuration, as steps."""

import difflib
from collections.abc import Iterable, Iterator
from functools import partial

from pydantic import ValidationError

from nearfeed_contracts.errors import NearfeedError
from nearfeed_recommender.config.document import yaml_document, yaml_of
from nearfeed_recommender.config.editor import ConfigStore, apply_document, roll_back
from nearfeed_recommender.config.entries import Body, Change, changes_between
from nearfeed_recommender.config.schema import document_of
from nearfeed_recommender.config.versions import (
    Applied,
    Statement,
    history,
    newest_version,
    version_of,
)
from nearfeed_runtime.operations import Listed, Operation, Said, Step, format_time
from nearfeed_runtime.sql import read_connection

_CHANGES = ("kind", "name", "change")
_HISTORY = ("version", "applied (UTC)", "author", "reason", "changes")


class StatementError(NearfeedError):
    """An author or a reason that cannot be one."""


def config_operations(store: ConfigStore) -> dict[str, Operation]:
    """The operations by their names in the table of a process."""
    return {
        "config.check": partial(check, store),
        "config.apply": partial(apply, store),
        "config.diff": partial(diff, store),
        "config.history": partial(list_history, store),
        "config.show": partial(show_version, store),
        "config.rollback": partial(rollback, store),
    }


def check(store: ConfigStore, text: str, name: str = "") -> Iterator[Step]:
    """Tells what applying a YAML text would change. Raises ConfigError with all its faults."""
    document = document_of(store.check(yaml_document(text, name)))
    with read_connection(store.engine) as connection:
        present = newest_version(connection)
    changes = changes_between(present.document, document)
    yield from _listed(changes)
    what = f"would be version {present.version + 1}" if changes else f"is version {present.version}"
    yield Said(f"{name or 'The document'} has no faults; it {what}.")


def apply(
    store: ConfigStore, text: str, author: str, reason: str, name: str = "", expected: int | None = None
) -> Iterator[Step]:
    """Makes a YAML text hold, whole or not at all. Raises ConfigError and StaleVersionError."""
    statement = statement_of(author, reason)
    yield from _applied(apply_document(store, yaml_document(text, name), statement, expected))


def rollback(store: ConfigStore, version: int, author: str, reason: str) -> Iterator[Step]:
    """Makes the document of a former version hold again, as a new version."""
    yield from _applied(roll_back(store, version, statement_of(author, reason)))


def diff(
    store: ConfigStore,
    old: int | None = None,
    new: int | None = None,
    text: str | None = None,
    name: str = "",
) -> Iterator[Step]:
    """What is different from version `old` in `text`, or else in version `new` (None: the one that holds)."""
    before, source = _version(store, old)
    after, target = _version(store, new) if text is None else _text(store, text, name)
    lines = difflib.unified_diff(
        yaml_of(before).splitlines(), yaml_of(after).splitlines(), source, target, lineterm=""
    )
    yield Said("\n".join(lines) or f"{source} and {target} are the same.")
    yield from _listed(changes_between(before, after))


def list_history(store: ConfigStore, limit: int = 20) -> Iterator[Step]:
    """The newest versions, newest first."""
    with read_connection(store.engine) as connection:
        found = history(connection, None, limit)
    rows = (
        (
            str(version.version),
            format_time(version.created_at or None),
            version.author,
            version.reason,
            _format_changes(changes),
        )
        for version, changes in found
    )
    yield Listed(_HISTORY, tuple(rows))


def show_version(store: ConfigStore, version: int | None = None) -> Iterator[Step]:
    """A version as YAML; the one that holds where none is named."""
    document, _ = _version(store, version)
    yield Said(yaml_of(document).rstrip("\n"))


def statement_of(author: str, reason: str) -> Statement:
    try:
        return Statement(author=author, reason=reason)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        fault = first["msg"].removeprefix("Value error, ")
        raise StatementError(f"The {first['loc'][0]} of a change: {fault[:1].lower()}{fault[1:]}.") from None


def _version(store: ConfigStore, version: int | None) -> tuple[Body, str]:
    """A version's document, and what it is called."""
    with read_connection(store.engine) as connection:
        found = newest_version(connection) if version is None else version_of(connection, version)
    return found.document, f"version {found.version}"


def _text(store: ConfigStore, text: str, name: str) -> tuple[Body, str]:
    return document_of(store.check(yaml_document(text, name))), name or "the document"


def _applied(applied: Applied) -> Iterator[Step]:
    yield from _listed(applied.changes)
    if applied.changes:
        yield Said(f"Version {applied.version} holds. To go back: config rollback {applied.version - 1}.")
    else:
        yield Said(f"Nothing changes: version {applied.version} says the same.")


def _listed(changes: Iterable[Change]) -> Iterator[Step]:
    rows = tuple(tuple(change) for change in changes)
    if rows:
        yield Listed(_CHANGES, rows)


def _format_changes(changes: Iterable[Change]) -> str:
    return "\n".join(f"{kind} {name} {change}" for kind, name, change in changes)
