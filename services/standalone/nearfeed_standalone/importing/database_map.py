"""`--map`: which queries of an app's database are which kind of data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from nearfeed_recommender.ingest.fields import (
    DeletionFields,
    Fields,
    InteractionFields,
    ItemFields,
    MembershipFields,
    MomentSource,
)
from nearfeed_recommender.ingest.map_file import MapError, read_map
from nearfeed_recommender.ingest.sources import Strict


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, dict | str) else given


Key = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1, max_length=4)]


class Query(Fields):
    """A table or a query, and the columns that tell its rows apart and put them in order.

    A finished import goes on `overlap` before the last key next time (seconds where the first key is a
    time, else its own unit), so that rows are seen that were committed late. `page`: rows a statement.
    """

    table: str | None = Field(default=None, min_length=1)
    query: str | None = Field(default=None, min_length=1)
    key: Key
    overlap: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    page: int = Field(default=1_000, ge=1, le=100_000)

    @model_validator(mode="after")
    def _one_origin(self) -> "Query":
        if (self.table is None) == (self.query is None):
            raise ValueError("needs either table or query")
        return self


class ItemQuery(Query, ItemFields):
    """Posts."""


class DeletionQuery(Query, DeletionFields):
    """Posts that are gone."""


class InteractionQuery(Query, InteractionFields):
    """Who did what with which post."""


class MembershipQuery(Query, MembershipFields):
    """Who has joined which community."""

    joined_at: MomentSource | None = None


class DatabaseMap(Strict):
    """Queries by kind, in the order in which they are read; a section holds one or a list of them."""

    items: Annotated[list[ItemQuery], BeforeValidator(_as_list)] = Field(default_factory=list)
    deletions: Annotated[list[DeletionQuery], BeforeValidator(_as_list)] = Field(default_factory=list)
    memberships: Annotated[list[MembershipQuery], BeforeValidator(_as_list)] = Field(default_factory=list)
    interactions: Annotated[list[InteractionQuery], BeforeValidator(_as_list)] = Field(default_factory=list)


class Place(NamedTuple):
    """Where a query stands in a map."""

    file: Path
    kind: str
    path: str


def read_database_map(file: Path) -> list[tuple[Place, Query]]:
    """The queries of a map, in the order in which they are read. Raises MapError."""
    found = list(_queries(file, read_map(file, DatabaseMap)))
    if not found:
        raise MapError(file, "", f"holds no query; write one under {', '.join(DatabaseMap.model_fields)}")
    return found


def _queries(file: Path, found: DatabaseMap) -> Iterator[tuple[Place, Query]]:
    for kind, section in found:
        for number, query in enumerate(section):
            yield Place(file, kind, kind if len(section) == 1 else f"{kind}[{number}]"), query
