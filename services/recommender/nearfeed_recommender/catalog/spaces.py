"""Which spaces there are, and which one is served."""

from sqlalchemy import Connection, select

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.runs import Block, Manifest
from nearfeed_contracts.tables import active_space_name, spaces


class NoSuchSpaceError(NotFoundError):
    """A space that does not exist."""


def active_space_of(connection: Connection) -> str | None:
    """The space that is served; None before the first activation."""
    return connection.scalar(select(active_space_name()))


def blocks_of(connection: Connection, space: str) -> tuple[Block, ...] | None:
    """How input embeddings of a space become a user vector; None for a space that does not exist."""
    manifest = connection.scalar(select(spaces.c.manifest).where(spaces.c.space == space))
    return Manifest.model_validate_json(manifest).blocks if manifest else None


def require_space(connection: Connection, space: str) -> None:
    """Raises NoSuchSpaceError that names the spaces that exist."""
    known = list(connection.scalars(select(spaces.c.space).order_by(spaces.c.created_at)))
    if space not in known:
        raise NoSuchSpaceError(f"There is no space {space!r}; spaces: {', '.join(known) or 'none'}.")
