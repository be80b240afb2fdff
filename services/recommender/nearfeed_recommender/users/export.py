"""All that SQL holds of a reader, as one JSON object that is written while it is read."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Engine, select, tuple_

from nearfeed_recommender.users.personal_data import HOLDINGS, Holding
from nearfeed_runtime.sql import reading

SCHEMA_VERSION = 1
ROWS_AT_ONCE = 500


def export_of(engine: Engine, user_id: str) -> Iterator[bytes]:
    """The parts of the object, of `ROWS_AT_ONCE` rows at most; none holds a connection while it is sent.

    Each part tells of the moment in which it is read. Raises what SQL raises.
    """
    head = {"schema_version": SCHEMA_VERSION, "user_id": user_id, "exported_at": datetime.now(UTC)}
    yield orjson.dumps(head, option=orjson.OPT_UTC_Z)[:-1]
    for holding in HOLDINGS:
        yield b"," + orjson.dumps(holding.name) + b":["
        yield from _rows(engine, holding, user_id)
        yield b"]"
    yield b"}"


def _rows(engine: Engine, holding: Holding, user_id: str) -> Iterator[bytes]:
    after: Sequence[Any] | None = None
    while rows := _rows_after(engine, holding, user_id, after):
        told = b",".join(orjson.dumps(holding.told(row), option=orjson.OPT_NON_STR_KEYS) for row in rows)
        yield told if after is None else b"," + told
        after = [rows[-1][column.name] for column in holding.table.primary_key]


def _rows_after(
    engine: Engine, holding: Holding, user_id: str, after: Sequence[Any] | None
) -> list[dict[str, Any]]:
    key = list(holding.table.primary_key)
    query = select(holding.table).where(holding.of(user_id)).order_by(*key).limit(ROWS_AT_ONCE)
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
