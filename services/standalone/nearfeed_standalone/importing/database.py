"""An app's database as sources of rows: each query of a map, read in pages by its key.

A page is a statement of its own that goes on after the last key, so none is counted off, and no
transaction of the app's database stays open. The ends of readings, memberships and deletions are looked
up before any row is read, and what comes behind them is left to the next import. Posts have no such end:
they are read until there are no more, so that one which is edited meanwhile, and so moves behind the
others, is met all the same, and no reading is refused for want of it. A post may be read twice for that.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, false, true

from nearfeed_standalone.importing.app_engine import open_app_database
from nearfeed_standalone.importing.database_map import read_database_map
from nearfeed_standalone.importing.keys import Key, after, shown, up_to
from nearfeed_standalone.importing.present import held_to
from nearfeed_standalone.importing.relation import Relation
from nearfeed_standalone.importing.source import RawRow, Rows, Source
from nearfeed_standalone.importing.state import State


@contextmanager
def open_sources(url: str, file: Path) -> Iterator[list[tuple[str, Source]]]:
    """The queries of a map as sources with their kinds, all checked. Raises MapError, AppDatabaseError."""
    queries = read_database_map(file)
    with open_app_database(url) as engine:
        relations = [Relation(engine, place, query) for place, query in queries]
        for relation in relations:
            relation.check_columns()
        now = datetime.now(UTC)
        yield [(relation.place.kind, QuerySource(relation, _bounds(relation), now)) for relation in relations]


def _bounds(relation: Relation) -> ColumnElement[bool]:
    relation.check_key()
    if relation.place.kind == "items":
        return true()
    end = relation.last_key()
    return false() if end is None else up_to(relation.columns, end)


@dataclass(frozen=True)
class QuerySource:
    """A query as a source, of the rows within bounds; it is known by its database and its map."""

    relation: Relation
    bounds: ColumnElement[bool]
    began: datetime
    grows: bool = True

    @property
    def name(self) -> str:
        return f"{self.relation.place.file.name}: {self.relation.place.path}"

    @property
    def identity(self) -> str:
        url = self.relation.engine.url
        where = f"{url.get_backend_name()}://{url.host}:{url.port}/{url.database}"
        said = self.relation.query.model_dump_json(exclude={"page", "overlap"})
        return hashlib.sha256(f"{where}\n{said}".encode()).hexdigest()

    @contextmanager
    def open(self, done: State) -> Iterator[Rows]:
        """Raises MapError and AppDatabaseError, also while rows are read."""
        start = self.relation.start(done)
        yield Rows((), self.relation.count(self._behind(start)), "rows", self._rows(start))

    def _rows(self, start: Key | None) -> Iterator[RawRow]:
        for position, row in enumerate(self._pages(start), 1):
            yield self._raw_row(row, position)

    def _pages(self, start: Key | None) -> Iterator[Mapping[str, Any]]:
        size = self.relation.query.page
        more = True
        while more:
            rows = self.relation.page(self._behind(start), size + 1)
            for row, following in pairwise(rows):
                if self.relation.key_of(row) == self.relation.key_of(following):
                    self.relation.refuse_twins(self.relation.key_of(row))
            yield from rows[:size]
            more = len(rows) > size
            start = self.relation.key_of(rows[size - 1]) if more else start

    def _behind(self, start: Key | None) -> ColumnElement[bool]:
        return self.bounds if start is None else self.bounds & after(self.relation.columns, start)

    def _raw_row(self, row: Mapping[str, Any], position: int) -> RawRow:
        relation = self.relation
        key = relation.key_of(row)
        place, go_on = {"key": shown(relation.query.key, key)}, held_to(self.began, key, relation.key_time)
        build = partial(RawRow, place, position, key=relation.encoded(go_on))
        try:
            return build(relation.query.values_of(row.get))
        except ValueError as error:
            return build({}, str(error))
