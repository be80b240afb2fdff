"""Lists spaces and chooses the one that is served: activation is one row of SQL."""

from collections.abc import Iterator
from functools import partial

from sqlalchemy import Connection, Engine, func, select, update

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.fields import from_micros, now_micros
from nearfeed_contracts.runs import Manifest
from nearfeed_contracts.tables import active_space, spaces
from nearfeed_indexer.catalogue import (
    READY,
    SpaceRow,
    active_name,
    all_spaces,
    count_posts,
    has_encoder,
    known_space,
    lock_active,
    manifest_of,
)
from nearfeed_indexer.contexts import CONTEXTS
from nearfeed_indexer.readiness import UNBUILT, NotReadyError, held_posts, readers_of
from nearfeed_runtime.auditing import machine_user, put_audit
from nearfeed_runtime.changes import lock_changes
from nearfeed_runtime.operations import Listed, Said, Step
from nearfeed_runtime.sql import committed, read_connection, upsert

COLUMNS = ("space", "state", "posts", "inferred", "readers", "model", "recall@20", "created")


def list_spaces(engine: Engine) -> Iterator[Step]:
    """A table of all spaces, oldest first."""
    with read_connection(engine) as connection:
        active = active_name(connection)
        rows = tuple(_listed(connection, row, active) for row in all_spaces(connection))
    yield Listed(COLUMNS, rows)


def activate_space(engine: Engine, space: str, actor: str | None = None) -> Iterator[Step]:
    """Serves a space that is ready, from the next request on. Raises NotFoundError and NotReadyError.

    `actor` is who the audit names; without one, the user who runs this process.
    """
    former = committed(engine, partial(_activate, space=space, actor=actor or machine_user()))
    yield Said(_describe(space, former))


def roll_back(engine: Engine, actor: str | None = None) -> Iterator[Step]:
    """Serves the space that was served before; twice in a row leads back. Raises ConflictError."""
    with read_connection(engine) as connection:
        query = (
            select(spaces.c.space)
            .where(spaces.c.activated_at.is_not(None), spaces.c.space != active_name(connection))
            .order_by(spaces.c.activated_at.desc())
        )
        former = connection.scalar(query.limit(1))
    if former is None:
        raise ConflictError("No other space has been active before, so there is none to roll back to.")
    yield from activate_space(engine, former, actor)


def _activate(transaction: Connection, space: str, actor: str) -> str | None:
    """Returns the space that was active before."""
    lock_changes(transaction, CONTEXTS)
    row = known_space(transaction, space)
    former = lock_active(transaction)
    if row.state != READY:
        raise NotReadyError(f"Space {space} is not ready: {'; '.join(_missing(transaction, row))}.")
    if former != space:
        _set_active(transaction, space)
        put_audit(transaction, actor, "spaces.activate", space, {"replaced": former})
    return former


def _set_active(transaction: Connection, space: str) -> None:
    """Also notes the time in the space's row, later than that of any other."""
    newest = transaction.scalar(select(func.max(spaces.c.activated_at))) or 0
    now = max(now_micros(), newest + 1)
    transaction.execute(update(spaces).where(spaces.c.space == space).values(activated_at=now))
    upsert(transaction, active_space, [{"slot": 1, "space": space, "activated_at": now}])


def _missing(connection: Connection, row: SpaceRow) -> Iterator[str]:
    if row.loaded_at is None:
        yield "its run is not loaded to the end (load it again to go on)"
        return
    held, wanted = held_posts(connection, row.space)
    if held < wanted and has_encoder(manifest_of(row)):
        yield f"{wanted - held} posts have no vector of their current version (the embedder makes them)"
    if readers_of(connection, row.space) is None:
        yield UNBUILT
    yield "it becomes ready when its run is loaded again"


def _describe(space: str, former: str | None) -> str:
    if former == space:
        return f"Space {space} is active already."
    if former is None:
        return f"Space {space} is active."
    return f"Space {space} is active; it replaced {former}. To go back: spaces rollback."


def _listed(connection: Connection, row: SpaceRow, active: str | None) -> tuple[str, ...]:
    manifest = manifest_of(row)
    readers = readers_of(connection, row.space)
    state = row.state if row.space != active else "active" if row.state == READY else f"active, {row.state}"
    return (
        row.space,
        state,
        str(count_posts(connection, row.space)),
        str(count_posts(connection, row.space, inferred=True)),
        "" if readers is None else str(readers),
        manifest.model,
        _recall(manifest),
        f"{from_micros(row.created_at):%Y-%m-%d %H:%M}",
    )


def _recall(manifest: Manifest) -> str:
    """The run's own recall, where its writer has stated one as a mean over readers."""
    try:
        return f"{manifest.metrics['models'][manifest.model]['recall@20']['mean']:.4f}"
    except (KeyError, TypeError, ValueError):
        return ""
