"""Keeps user vectors right beside the events: follows contexts, builds new spaces, mends the stale.

Each step is one short transaction and may be repeated; `run_once` does all that is to be done now.
"""

import hashlib
from collections.abc import Sequence
from functools import partial

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select, update

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import interactions, item_contexts, reader_builds, spaces, user_vectors
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.users.profiles import Pooling
from nearfeed_recommender.users.user_vectors import (
    live_spaces,
    mark_all_stale,
    mark_stale,
    refresh_vectors,
    stale_readers,
)
from nearfeed_runtime.sql import committed, let_others_write, read_connection, sole_worker, upsert

_CHANGES = 200
_READERS = 100


def run_once(engine: Engine, pooling: Pooling) -> int:
    """Does what has become due, unless another process is at it; returns how many steps that took."""
    with sole_worker(engine, "upkeep") as alone:
        return _do_all(engine, pooling) if alone else 0


def _do_all(engine: Engine, pooling: Pooling) -> int:
    steps = _follow_rule(engine, pooling.rule) + _forget_reloading(engine)
    with read_connection(engine) as connection:
        live = live_spaces(connection)
    steps += sum(_follow_contexts(engine, space) for space in live)
    while _refresh_stale(engine, pooling):
        steps += 1
        let_others_write(engine)
    steps += sum(build_space(engine, pooling, space) for space in _unbuilt(engine))
    return steps + _forget_dropped(engine)


def build_space(engine: Engine, pooling: Pooling, space: str) -> int:
    """Computes all readers of a space that has been loaded, then says so in `reader_builds`."""
    with read_connection(engine) as connection:
        start = _newest_change(connection, space)
        blocks = live_spaces(connection)[space]
    pooling.embeddings.preload(space)
    readers, after = 0, ""
    while batch := _readers_after(engine, after):
        committed(
            engine, partial(refresh_vectors, pooling=pooling, space=space, blocks=blocks, user_ids=batch)
        )
        readers, after = readers + len(batch), batch[-1]
        let_others_write(engine)
    row = {"space": space, "change_id": start, "readers": readers, "built_at": now_micros()}
    told = [{**row, "rule": fingerprint(pooling.rule)}]
    committed(engine, lambda transaction: upsert(transaction, reader_builds, told))
    return 1


def fingerprint(rule: WeightRule) -> str:
    """Names a weight rule, so that vectors of another one are told apart."""
    body = orjson.dumps([dict(rule.by_kind), rule.half_life_days], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()


def _follow_rule(engine: Engine, rule: WeightRule) -> int:
    other = reader_builds.c.rule != fingerprint(rule)
    with read_connection(engine) as connection:
        if connection.scalar(select(reader_builds.c.space).where(other).limit(1)) is None:
            return 0
    committed(engine, partial(_mark_by_rule, other=other, rule=rule))
    return 1


def _mark_by_rule(transaction: Connection, other: ColumnElement[bool], rule: WeightRule) -> None:
    mark_all_stale(transaction)
    transaction.execute(update(reader_builds).where(other).values(rule=fingerprint(rule)))


def _follow_contexts(engine: Engine, space: str) -> int:
    """Marks the readers of contexts that changed since the last look."""
    steps = 0
    while changed := _changed_contexts(engine, space):
        readers = committed(engine, partial(_readers_of, items=[item for item, _ in changed]))
        committed(engine, partial(_mark_up_to, space=space, readers=readers, change_id=changed[-1][1]))
        steps += 1
    return steps


def _readers_of(transaction: Connection, items: Sequence[str]) -> list[str]:
    """Who has read the posts. Waits for those who are adding a reading with the former context."""
    query = select(interactions.c.user_id).where(
        interactions.c.item_id.in_(items), interactions.c.newest_at.is_not(None)
    )
    return sorted(set(transaction.scalars(query.with_for_update(read=True))))


def _mark_up_to(transaction: Connection, space: str, readers: Sequence[str], change_id: int) -> None:
    mark_stale(transaction, space, readers)
    transaction.execute(
        update(reader_builds).where(reader_builds.c.space == space).values(change_id=change_id)
    )


def _changed_contexts(engine: Engine, space: str) -> list[tuple[str, int]]:
    since = select(reader_builds.c.change_id).where(reader_builds.c.space == space).scalar_subquery()
    query = (
        select(item_contexts.c.item_id, item_contexts.c.change_id)
        .where(item_contexts.c.space == space, item_contexts.c.change_id > since)
        .order_by(item_contexts.c.change_id)
        .limit(_CHANGES)
    )
    with read_connection(engine) as connection:
        return [(row.item_id, row.change_id) for row in connection.execute(query)]


def _refresh_stale(engine: Engine, pooling: Pooling) -> int:
    with read_connection(engine) as connection:
        due = stale_readers(connection, _READERS)
    if not due:
        return 0
    return committed(engine, partial(_refresh_some, pooling=pooling))


def _refresh_some(transaction: Connection, pooling: Pooling) -> int:
    blocks = live_spaces(transaction)
    due = stale_readers(transaction, _READERS)
    for space in {space for space, _ in due} & blocks.keys():
        readers = [user for name, user in due if name == space]
        refresh_vectors(transaction, pooling, space, blocks[space], readers)
    gone = {space for space, _ in due} - blocks.keys()
    if gone:
        transaction.execute(delete(user_vectors).where(user_vectors.c.space.in_(gone)))
    return len(due)


def _unbuilt(engine: Engine) -> list[str]:
    query = (
        select(spaces.c.space)
        .outerjoin(reader_builds, reader_builds.c.space == spaces.c.space)
        .where(spaces.c.loaded_at.is_not(None), reader_builds.c.space.is_(None))
    )
    with read_connection(engine) as connection:
        return list(connection.scalars(query))


def _forget_reloading(engine: Engine) -> int:
    """Removes the builds of spaces that are being loaded again: each is built again once it is loaded.

    Following its contexts instead would compute every reader anew after each batch of the load.
    """
    loading = reader_builds.c.space.in_(select(spaces.c.space).where(spaces.c.loaded_at.is_(None)))
    with read_connection(engine) as connection:
        if connection.scalar(select(reader_builds.c.space).where(loading).limit(1)) is None:
            return 0
    committed(engine, lambda transaction: transaction.execute(delete(reader_builds).where(loading)))
    return 1


def _forget_dropped(engine: Engine) -> int:
    """Removes the readers of spaces that are no more."""
    dropped = reader_builds.c.space.not_in(select(spaces.c.space))
    with read_connection(engine) as connection:
        names = list(connection.scalars(select(reader_builds.c.space).where(dropped)))
    if not names:
        return 0
    committed(engine, partial(_forget, spaces_=names))
    return 1


def _forget(transaction: Connection, spaces_: Sequence[str]) -> None:
    for table in (user_vectors, reader_builds):
        transaction.execute(delete(table).where(table.c.space.in_(spaces_)))


def _newest_change(connection: Connection, space: str) -> int:
    query = select(func.max(item_contexts.c.change_id)).where(item_contexts.c.space == space)
    return connection.scalar(query) or 0


def _readers_after(engine: Engine, user_id: str) -> list[str]:
    query = (
        select(interactions.c.user_id)
        .where(interactions.c.user_id > user_id)
        .distinct()
        .order_by(interactions.c.user_id)
        .limit(_READERS)
    )
    with read_connection(engine) as connection:
        return list(connection.scalars(query))
