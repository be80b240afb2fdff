"""Changes what is served: each way ends in a document that is checked, and then holds, as a whole."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from nearfeed_contracts.errors import ConflictError
from nearfeed_recommender.config.checks import Check, check_document
from nearfeed_recommender.config.document import Document
from nearfeed_recommender.config.entries import Body, Entry, section_of, with_entry, without_entry
from nearfeed_recommender.config.faults import StaleVersionError
from nearfeed_recommender.config.live import LiveConfig
from nearfeed_recommender.config.schema import Config
from nearfeed_recommender.config.versions import (
    Applied,
    Statement,
    newest_version,
    store_version,
    version_of,
)
from nearfeed_recommender.config.world import World
from nearfeed_runtime.sql import read_connection

_ATTEMPTS = 5


@dataclass(frozen=True)
class ConfigStore:
    """Where what is served is kept: SQL has the versions, the run store and SQL what they name."""

    engine: Engine
    runs_url: str
    live: LiveConfig
    checks: tuple[Check, ...] = ()  # what others need of a configuration, as running experiments do
    actor: str | None = None  # who the audit names; None: the author of a change

    def check(self, document: Document) -> Config:
        """The configuration of a document that may hold here. Raises ConfigError with all its faults."""
        return check_document(document, World(self.engine, self.runs_url).faults, *self.checks)


def apply_document(
    store: ConfigStore, document: Document, statement: Statement, expected: int | None = None
) -> Applied:
    """Makes a document hold, whole or not at all. Raises ConfigError and StaleVersionError."""
    checked = store.check(document)
    applied = store_version(store.engine, checked, statement, expected=expected, actor=store.actor)
    store.live.refresh()
    return applied


def roll_back(store: ConfigStore, version: int, statement: Statement, expected: int | None = None) -> Applied:
    """Applies the document of a former version anew. Raises NotFoundError, and as `apply_document` does."""
    with read_connection(store.engine) as connection:
        former = version_of(connection, version)
    document = Document(former.document, name=f"version {version}")
    return apply_document(store, document, statement, expected)


def put_entry(
    store: ConfigStore, entry: Entry, given: Document, statement: Statement, expected: int | None = None
) -> Applied:
    """Sets one entry of the version that holds. Raises as `apply_document` does."""

    def edited(present: Body) -> Document:
        at = (section_of(entry.kind), entry.name)
        return replace(given, body=with_entry(present, entry, given.body), at=at)

    return _edit(store, edited, statement, expected)


def delete_entry(
    store: ConfigStore, entry: Entry, statement: Statement, expected: int | None = None
) -> Applied:
    """Removes one entry of the version that holds. Raises NotFoundError, and as `apply_document` does."""
    return _edit(store, lambda present: Document(without_entry(present, entry)), statement, expected)


def _edit(
    store: ConfigStore, edited: Callable[[Body], Document], statement: Statement, expected: int | None
) -> Applied:
    """Edits the version that holds; one that another has made meanwhile is edited anew."""
    for _ in range(_ATTEMPTS):
        with read_connection(store.engine) as connection:
            present = newest_version(connection)
        on = present.version if expected is None else expected
        try:
            return apply_document(store, edited(present.document), statement, on)
        except StaleVersionError:
            if expected is not None:
                raise
    raise ConflictError("Others are changing the configuration at this moment; try again.")
