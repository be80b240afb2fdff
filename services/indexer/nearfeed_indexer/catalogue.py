"""The tables spaces and active_space, read."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from nearfeed_contracts.errors import ConflictError, NotFoundError
from nearfeed_contracts.runs import Manifest
from nearfeed_contracts.tables import active_space, active_space_name, item_contexts, spaces

LOADING = "loading"
READY = "ready"
ENCODER = "encoder/"

SpaceRow = Row[Any]


def find_space(connection: Connection, space: str, *, hold: bool = True) -> SpaceRow | None:
    """The row of a space; `hold` keeps it until a writing transaction ends."""
    query = select(spaces).where(spaces.c.space == space)
    return connection.execute(query.with_for_update() if hold else query).one_or_none()


def known_space(connection: Connection, space: str) -> SpaceRow:
    """The row of a space. Raises NotFoundError that names those that exist."""
    row = find_space(connection, space)
    if row is None:
        known = list(connection.scalars(select(spaces.c.space).order_by(spaces.c.space)))
        raise NotFoundError(f"There is no space {space}; {_listed(known)}.")
    return row


def loading_space(connection: Connection, space: str, *, hold: bool = True) -> SpaceRow:
    """The row of the space that this process loads. Raises ConflictError where another has dropped it."""
    row = find_space(connection, space, hold=hold)
    if row is None:
        raise ConflictError(f"Space {space} was dropped while it was loaded; load the run again if need be.")
    return row


def all_spaces(connection: Connection) -> Sequence[SpaceRow]:
    """All spaces, oldest first."""
    return connection.execute(select(spaces).order_by(spaces.c.created_at, spaces.c.space)).all()


def active_name(connection: Connection) -> str | None:
    return connection.scalar(select(active_space_name()))


def lock_active(transaction: Connection) -> str | None:
    """The active space, held until the transaction ends."""
    return transaction.scalar(select(active_space.c.space).with_for_update())


def live_dimensions(transaction: Connection) -> dict[str, int]:
    """The dimension of every space, each held against a drop until the transaction ends."""
    rows = transaction.execute(select(spaces).with_for_update(read=True))
    return {row.space: manifest_of(row).dim for row in rows}


def manifest_of(row: SpaceRow) -> Manifest:
    return Manifest.model_validate_json(row.manifest)


def has_encoder(manifest: Manifest) -> bool:
    """Whether new posts get vectors in this space."""
    return any(name.startswith(ENCODER) for name in manifest.checksums)


def count_posts(connection: Connection, space: str, *, inferred: bool = False) -> int:
    """Posts that a space holds; with `inferred`, those whose vector was inferred."""
    table = item_contexts.c
    query = select(func.count()).where(table.space == space, table.context.is_not(None))
    return connection.scalar(query.where(table.inferred) if inferred else query) or 0


def _listed(known: Sequence[str]) -> str:
    return f"those that exist are {', '.join(known)}" if known else "none has been loaded yet"
