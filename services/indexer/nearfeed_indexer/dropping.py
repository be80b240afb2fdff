"""Removes spaces: the row first, so that nothing feeds or serves them any more, then what they held."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import structlog
from sqlalchemy import Connection, Engine, delete, func, select

from nearfeed_contracts.errors import ConflictError, NotFoundError
from nearfeed_contracts.tables import item_contexts, spaces
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_indexer.catalogue import all_spaces, known_space, lock_active
from nearfeed_indexer.contexts import CONTEXTS
from nearfeed_runtime.auditing import machine_user, put_audit
from nearfeed_runtime.changes import lock_changes
from nearfeed_runtime.operations import Said, Step
from nearfeed_runtime.sql import committed, let_others_write, read_connection

logger = structlog.get_logger(__name__)
_CONTEXTS_PER_DELETE = 5_000


def drop_space(engine: Engine, store: VectorStore, space: str, actor: str | None = None) -> Iterator[Step]:
    """Removes a space that is not active, or what a crashed drop has left of one.

    `actor` is who the audit names; without one, the user who runs this process. Raises NotFoundError and
    ConflictError.
    """
    if not _has_remains(engine, store, space):
        remove_row(engine, space, actor or machine_user())
    purge_space(engine, store, space)
    yield Said(f"Space {space} is dropped.")


def remove_row(engine: Engine, space: str, actor: str) -> None:
    """Raises NotFoundError and, for the active space, ConflictError."""
    committed(engine, partial(_remove_row, space=space, actor=actor))


def _remove_row(transaction: Connection, space: str, actor: str) -> None:
    lock_changes(transaction, CONTEXTS)
    known_space(transaction, space)
    if lock_active(transaction) == space:
        raise ConflictError(f"Space {space} is active; activate another one before you drop it.")
    transaction.execute(delete(spaces).where(spaces.c.space == space))
    put_audit(transaction, actor, "spaces.drop", space, {})


def discard_space(engine: Engine, store: VectorStore, space: str, actor: str) -> None:
    """Removes a space whose run turned out to be broken, unless it is served."""
    with suppress(NotFoundError, ConflictError):
        remove_row(engine, space, actor)
        purge_space(engine, store, space)


def purge_space(engine: Engine, store: VectorStore, space: str) -> None:
    """Removes the contexts and vectors of a space that has no row; one that has a row is left alone."""
    while committed(engine, partial(_purge_some, store=store, space=space)):
        let_others_write(engine)


def reconcile_store(engine: Engine, store: VectorStore) -> None:
    """Removes what crashed drops and loads have left; to be called when the indexer starts.

    Where SQL knows no space at all, nothing is removed: the database may be the wrong one.
    """
    with read_connection(engine) as connection:
        rows = {row.space for row in all_spaces(connection)}
        held = set(connection.scalars(select(item_contexts.c.space).distinct()))
    stored = store.spaces()
    for space in sorted(rows - stored):
        logger.warning("the vector store lacks a space, whose run must be loaded again", space=space)
    orphans = sorted((held | stored) - rows)
    if orphans and not rows:
        logger.warning("the vector store holds spaces that the database does not know", spaces=orphans)
        return
    for space in orphans:
        logger.warning("removing what is left of a dropped space", space=space)
        purge_space(engine, store, space)


def _has_remains(engine: Engine, store: VectorStore, space: str) -> bool:
    """Whether a space without a row has left contexts or vectors."""
    with read_connection(engine) as connection:
        if connection.scalar(select(spaces.c.space).where(spaces.c.space == space)) is not None:
            return False
        held = _last_of_slice(connection, space)
    return held is not None or space in store.spaces()


def _purge_some(transaction: Connection, store: VectorStore, space: str) -> bool:
    """Removes a slice of the contexts and, when none is left, the vectors; says if there may be more."""
    lock_changes(transaction, CONTEXTS)
    if transaction.scalar(select(spaces.c.space).where(spaces.c.space == space)) is not None:
        return False
    last = _last_of_slice(transaction, space)
    if last is None:
        store.drop_space(space)
        return False
    table = item_contexts.c
    transaction.execute(delete(item_contexts).where(table.space == space, table.item_id <= last))
    return True


def _last_of_slice(connection: Connection, space: str) -> str | None:
    ids = (
        select(item_contexts.c.item_id)
        .where(item_contexts.c.space == space)
        .order_by(item_contexts.c.item_id)
        .limit(_CONTEXTS_PER_DELETE)
        .subquery()
    )
    last: str | None = connection.scalar(select(func.max(ids.c.item_id)))
    return last
