"""What SQL holds of a reader, table by table: what an export tells, and an erasure has to leave empty."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson
from sqlalchemy import ColumnElement, Connection, Table, func, select

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

    def told(self, row: Mapping[str, Any]) -> dict[str, Any]:
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
