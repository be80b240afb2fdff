"""What SQL holds of a reader, table by table: what an export tells, and an erasure has to leave empty."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson
from sqlalchemy import ColumnElement, Connection, Engine, Table, func, select, tuple_

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.tables import (
    feed_pages,
    interactions,
    items,
    memberships,
    outcomes,
    reader_controls,
    reader_resets,
    reader_units,
    served_items,
    served_requests,
    user_revisions,
    user_vectors,
)
from nearfeed_runtime.sql import read_connection

_TIME = "_at"
_OMITTED = ("user_id", "author_id", "change_id")
Form = Callable[[Any], Any]


@dataclass(frozen=True)
class Holding:
    """Rows of a table that are a reader's: `of(user_id)` tells which, `name` is what an export calls them.

    `forms` says how columns are told that are neither times nor plain values.
    """

    name: str
    table: Table
    of: Callable[[str], ColumnElement[bool]]
    forms: Mapping[str, Form] = field(default_factory=lambda: MappingProxyType({}))

    def count(self, connection: Connection, user_id: str) -> int:
        query = select(func.count()).select_from(self.table).where(self.of(user_id))
        return int(connection.scalar(query) or 0)

    def to_json(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row as JSON has it, without the user's id and the number of its change."""
        return {name: self._form(name)(value) for name, value in row.items() if name not in _OMITTED}

    def _form(self, name: str) -> Form:
        return self.forms.get(name, _time if name.endswith(_TIME) else _plain)


def _plain(value: Any) -> Any:
    return value


def _time(value: int | None) -> str | None:
    return None if value is None else from_micros(value).isoformat().replace("+00:00", "Z")


def _json(value: str) -> Any:
    return orjson.Fragment(value)


def _vector(value: bytes) -> list[float]:
    return [float(part) for part in np.frombuffer(value, "<f4")]


def _user_id(table: Table) -> Callable[[str], ColumnElement[bool]]:
    return lambda user_id: table.c.user_id == user_id


def _in_group(user_id: str) -> ColumnElement[bool]:
    """The reader's own, and those of other ids that are assigned by the reader's."""
    return (reader_units.c.user_id == user_id) | (reader_units.c.unit_id == user_id)


def _own_answers(user_id: str) -> ColumnElement[bool]:
    own = select(served_requests.c.request_id).where(served_requests.c.user_id == user_id)
    return served_items.c.request_id.in_(own)


HOLDINGS: tuple[Holding, ...] = (
    Holding("memberships", memberships, _user_id(memberships)),
    Holding("controls", reader_controls, _user_id(reader_controls)),
    Holding("interactions", interactions, _user_id(interactions)),
    Holding("vectors", user_vectors, _user_id(user_vectors), {"vector": _vector}),
    Holding("resets", reader_resets, _user_id(reader_resets)),
    Holding("revisions", user_revisions, _user_id(user_revisions)),
    Holding("posts", items, lambda user_id: items.c.author_id == user_id, {"tags": _json}),
    Holding("pages", feed_pages, _user_id(feed_pages), {"page": _json}),
    Holding("answers", served_requests, _user_id(served_requests), {"reader": _json}),
    Holding("answer_items", served_items, _own_answers, {"inputs": _json}),
    Holding("outcomes", outcomes, _user_id(outcomes)),
    Holding("experiment_units", reader_units, _in_group),
)


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
        told = b",".join(orjson.dumps(holding.to_json(row), option=orjson.OPT_NON_STR_KEYS) for row in rows)
        yield told if after is None else b"," + told
        after = [rows[-1][column.name] for column in holding.table.primary_key]


def _rows_after(
    engine: Engine, holding: Holding, user_id: str, after: Sequence[Any] | None
) -> list[dict[str, Any]]:
    key = list(holding.table.primary_key)
    query = select(holding.table).where(holding.of(user_id)).order_by(*key).limit(ROWS_AT_ONCE)
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    with read_connection(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
