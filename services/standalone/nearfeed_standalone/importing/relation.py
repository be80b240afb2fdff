"""A query of a map, asked by its key. Each question is a transaction of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Engine,
    Select,
    column,
    false,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from nearfeed_recommender.ingest.map_file import MapError
from nearfeed_recommender.ingest.sources import TimeSource
from nearfeed_standalone.importing.app_engine import AppDatabaseError, format_url
from nearfeed_standalone.importing.database_map import Place, Query
from nearfeed_standalone.importing.keys import Key, decode_key, encode_key, shown, stepped_back
from nearfeed_standalone.importing.state import State


@dataclass(frozen=True)
class Relation:
    """A query of a map. Its methods raise MapError, and AppDatabaseError where nobody answers."""

    engine: Engine
    place: Place
    query: Query

    def check_columns(self) -> None:
        """Raises MapError for a column that the query does not have."""
        columns = self._ask(self._select("*").where(false())).keys
        named = {f"{name}.from": source.from_ for name, source in self.query.sources().items()}
        for path, name in [*named.items(), *(("key", name) for name in self.query.key)]:
            if name is not None and name not in columns:
                raise self._fault(
                    path.removesuffix(".from"), f"there is no column {name}; there is {', '.join(columns)}"
                )

    def check_key(self) -> None:
        """Raises MapError for a key that holds NULL."""
        keyless = or_(*(each.is_(None) for each in self.columns))
        if self._ask(self._select("1").where(keyless).limit(1)).rows:
            raise self._fault("key", "there are rows where it is NULL; name columns that never are")

    def last_key(self) -> Key | None:
        """The greatest key; None where there is no row."""
        backwards = self._select("*").order_by(*(each.desc() for each in self.columns)).limit(1)
        rows = self._ask(backwards).rows
        return self.key_of(rows[0]) if rows else None

    def count(self, condition: ColumnElement[bool]) -> int:
        found = self._ask(self._select("count(*)").where(condition)).rows
        return int(*found[0].values())

    def page(self, condition: ColumnElement[bool], size: int) -> list[dict[str, Any]]:
        return self._ask(self._select("*").where(condition).order_by(*self.columns).limit(size)).rows

    @property
    def columns(self) -> list[ColumnClause[Any]]:
        return [column(name) for name in self.query.key]

    @property
    def key_time(self) -> TimeSource | None:
        """What the map says of the key's first column, where it says that it is a time."""
        found = self.query.sources().values()
        times = (each for each in found if isinstance(each, TimeSource) and each.from_ == self.query.key[0])
        return next(times, None)

    def key_of(self, row: Mapping[str, Any]) -> Key:
        return tuple(row[name] for name in self.query.key)

    def encoded(self, key: Key) -> str:
        try:
            return encode_key(key)
        except ValueError as error:
            raise self._fault("key", str(error)) from None

    def start(self, done: State) -> Key | None:
        """The key to go on after: the last one, or some way before it where the import was finished."""
        if done.read_up_to is None:
            return None
        key = decode_key(done.read_up_to)
        if not done.finished:
            return key
        try:
            return stepped_back(key, self.query.overlap)
        except ValueError as error:
            raise self._fault("overlap", str(error)) from None

    def refuse_twins(self, key: Key) -> NoReturn:
        """Raises MapError: what goes on after such a key would leave out the other rows that have it."""
        values = ", ".join(f"{name} = {value}" for name, value in shown(self.query.key, key).items())
        raise self._fault("key", f"two rows have {values}; add a column that tells them apart")

    def _select(self, what: str) -> Select[Any]:
        return select(literal_column(what)).select_from(text(self._from()))

    def _from(self) -> str:
        if self.query.table is not None:
            quote = self.engine.dialect.identifier_preparer.quote
            return ".".join(quote(part) for part in self.query.table.split(".")).replace(":", r"\:")
        query = str(self.query.query).strip().rstrip(";").replace(":", r"\:")
        return f"({query}\n) AS app"

    def _ask(self, statement: Select[Any]) -> "_Answer":
        try:
            with self.engine.connect() as connection:
                result = connection.execute(statement)
                return _Answer(list(result.keys()), [dict(row) for row in result.mappings()])
        except DBAPIError as error:
            raise self._translated(error) from error

    def _translated(self, error: DBAPIError) -> Exception:
        cause = str(error.orig).splitlines()[0].rstrip(". ")
        lost = isinstance(error, OperationalError | InterfaceError) and self.engine.dialect.name != "sqlite"
        if error.connection_invalidated or lost:
            return AppDatabaseError(
                f"--from: {format_url(self.engine.url)} does not answer ({cause}); "
                "give the command again, and it goes on where it stopped."
            )
        name = "query" if self.query.table is None else "table"
        return self._fault(name, f"the database refuses it ({cause})")

    def _fault(self, path: str, fault: str) -> MapError:
        return MapError(self.place.file, f"{self.place.path}.{path}", fault)


@dataclass(frozen=True)
class _Answer:
    keys: list[str]
    rows: list[dict[str, Any]]
