"""Relations between posts, vertices and whatever has an id: from stored edges, or by a live model.

Which of both it is says the configuration; a question cannot tell, and reads the same.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from nearfeed_contracts.tables import edges, items
from nearfeed_recommender.catalog.writes import known_items
from nearfeed_recommender.config.schema import LiveRelation, StoredRelation
from nearfeed_recommender.graphql.fields import ArgumentError
from nearfeed_recommender.graphql.queries import rows_of_each
from nearfeed_recommender.graphql.sources import GraphSources
from nearfeed_recommender.graphql.threads import asked
from nearfeed_runtime.sql import read_connection

SIMILAR = "similar"
# Posts that were deleted may stand in an index for a moment.
_SPARE = 20


class Relating(NamedTuple):
    """The first `limit` things that a relation leads to; `posts`: those alone that are posts."""

    name: str
    from_id: str
    limit: int
    posts: bool


class Link(NamedTuple):
    """One of them. `properties`: JSON of what the edge was loaded with."""

    to_id: str
    score: float
    properties: str | None


Links = dict[Relating, list[Link]]
Answers = dict[Relating, list[Link] | Exception]
_Of = Callable[[GraphSources, list[Relating]], Links]


def links_of(sources: GraphSources, keys: Sequence[Relating]) -> Answers:
    """The links of each, best first; none leads to a deleted post.

    A relation that fails does so alone: its keys have the error instead. That is ArgumentError where
    `similar` is not configured, BackendUnavailableError where SQL does not answer, or what a model raises.
    """
    by_name: dict[str, list[Relating]] = defaultdict(list)
    for key in keys:
        by_name[key.name].append(key)
    found: Answers = {}
    for name, of_name in by_name.items():
        found |= _links_or_error(sources, name, of_name)
    return found


def _links_or_error(sources: GraphSources, name: str, keys: list[Relating]) -> Answers:
    try:
        return {**asked(partial(_answered, sources, name, keys))}
    except Exception as error:
        return {key: error for key in keys}


def _answered(sources: GraphSources, name: str, keys: list[Relating]) -> Links:
    match sources.relation_of(name):
        case LiveRelation(model=model):
            return _by_model(sources, model, keys)
        case StoredRelation(edges=label):
            return _stored(sources, label, keys)
        case None if name == SIMILAR:
            raise ArgumentError(
                SIMILAR, "the configuration has no relation `similar`; add it under `relations`"
            )
        case None:
            return _stored(sources, name, keys)


def _stored(sources: GraphSources, label: str, keys: list[Relating]) -> Links:
    def query(key: Relating) -> Select[Any]:
        return (
            select(edges.c.to_id, edges.c.score, edges.c.properties)
            .join(items, items.c.item_id == edges.c.to_id, isouter=not key.posts)
            .where(edges.c.label == label, edges.c.from_id == key.from_id, items.c.deleted.is_not(True))
            .order_by(edges.c.score.desc(), edges.c.to_id.desc())
            .limit(key.limit)
        )

    with read_connection(sources.engine) as connection:
        found = rows_of_each(connection, keys, query)
    return {
        key: [Link(row.to_id, row.score, row.properties) for row in sorted(rows, key=_rank, reverse=True)]
        for key, rows in found.items()
    }


def _rank(row: Any) -> tuple[float, str]:
    return row.score, row.to_id


def _by_model(sources: GraphSources, model: str, keys: list[Relating]) -> Links:
    limit = max(key.limit for key in keys)
    hits = sources.nearest(model, list(dict.fromkeys(key.from_id for key in keys)), limit + _SPARE)
    with read_connection(sources.engine) as connection:
        live = _live(connection, [hit.item_id for found in hits.values() for hit in found])
    return {
        key: [Link(hit.item_id, hit.score, None) for hit in hits.get(key.from_id, ()) if hit.item_id in live][
            : key.limit
        ]
        for key in keys
    }


def _live(connection: Connection, ids: Sequence[str]) -> set[str]:
    return known_items(connection, ids)
