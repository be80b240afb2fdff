"""The table item_contexts: which version of a post a space holds, and in which order that changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.tables import item_contexts
from nearfeed_runtime.changes import next_change
from nearfeed_runtime.sql import chunks, upsert

CONTEXTS = "contexts"
"""The sequence that numbers changes of contexts; writers of contexts and spaces lock it."""


@dataclass(frozen=True, slots=True)
class Context:
    """A post in a space; `context` (little-endian float32) is None on the tombstone of a deleted post."""

    item_id: str
    version: int
    context: bytes | None
    inferred: bool = False

    @property
    def rank(self) -> tuple[int, bool, bool]:
        """What decides between two: the version, then a deletion, then a trained vector."""
        return self.version, self.context is None, not self.inferred


def to_bytes(vector: VectorArray) -> bytes:
    return bytes(vector.astype("<f4", copy=False).tobytes())


def stored_contexts(
    connection: Connection, space: str, item_ids: Sequence[str], *, hold: bool = True
) -> dict[str, Context]:
    """The contexts of posts as they stand, by item id; `hold` keeps them until the transaction ends."""
    table = item_contexts.c
    found: dict[str, Context] = {}
    for chunk in chunks(item_ids):
        query = select(table.item_id, table.version, table.context, table.inferred).where(
            table.space == space, table.item_id.in_(chunk)
        )
        rows = connection.execute(query.with_for_update() if hold else query)
        found.update({row.item_id: Context(*row) for row in rows})
    return found


def write_contexts(transaction: Connection, space: str, contexts: Sequence[Context]) -> None:
    """Writes contexts under new change ids, which grow in the order of commits (see `next_change`)."""
    first = next_change(transaction, CONTEXTS, len(contexts))
    rows = [
        {
            "space": space,
            "item_id": context.item_id,
            "version": context.version,
            "context": context.context,
            "inferred": context.inferred,
            "change_id": first + index,
        }
        for index, context in enumerate(contexts)
    ]
    upsert(transaction, item_contexts, rows)


def highest(contexts: Iterable[Context]) -> dict[str, Context]:
    """The context of the highest rank of each post; of equals the last."""
    best: dict[str, Context] = {}
    for context in contexts:
        known = best.get(context.item_id)
        if known is None or context.rank >= known.rank:
            best[context.item_id] = context
    return best
