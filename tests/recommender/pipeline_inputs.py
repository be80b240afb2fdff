"""What stages of a pipeline are given, made of a few posts: columns, user states, queries, candidates."""

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.events import KINDS, Interaction
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.catalog.columns import Columns, PostFacts, Rows
from nearfeed_recommender.catalog.embeddings import Embedded
from nearfeed_recommender.pipeline.candidates import NEW, Candidates, Found, Mark, Trace
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.users.eligibility import Wish
from nearfeed_recommender.users.memberships import Controls
from nearfeed_recommender.users.state import UserState

Hits = Sequence[tuple[str, float]]
"""Ids and scores, best first."""
Vector = NDArray[np.float32]
NO_CONTROLS = Controls()
NO_WISH = Wish()


class Listed(NamedTuple):
    """A candidate as a value: `found_by` are the sources that have found it."""

    item_id: str
    score: float
    source: str
    marks: tuple[Mark, ...]
    found_by: tuple[str, ...]


class FixedEmbeddings:
    """Input embeddings by id, the same in every space."""

    def __init__(self, columns: Columns, vectors: Mapping[str, Sequence[float]]) -> None:
        self._columns, self._vectors = columns, vectors

    def of(self, _space: str, rows: Rows) -> Embedded:
        found = [self._vectors.get(self._columns.ids[row]) for row in rows.tolist()]
        known = [vector for vector in found if vector is not None]
        vectors = np.array(known, np.float32).reshape(len(known), -1 if known else 0)
        lengths = np.linalg.norm(vectors, axis=1)
        mask = np.array([vector is not None for vector in found], np.bool_)
        return Embedded(vectors, mask, np.where(lengths > 0, lengths, 1).astype(np.float32))


NO_MODELS = SimpleNamespace(space_of=lambda _: None)
"""A registry in which every model of kind vectors keeps to the space of the response."""


def columns_of(posts: Iterable[PostFacts]) -> Columns:
    """Columns with these posts, in their order."""
    columns = Columns()
    columns.put(list(posts))
    return columns


def post(
    item_id: str, community_id: str = "c1", author_id: str = "ann", at: int = 0, **more: object
) -> PostFacts:
    """A live post, published at a time in microseconds."""
    return PostFacts(item_id, 1, community_id, author_id, published_at=at, **more)  # type: ignore[arg-type]


def state_of(
    columns: Columns,
    events: Iterable[Interaction] = (),
    joined: Iterable[str] = (),
    controls: Controls = NO_CONTROLS,
    user_id: str = "me",
) -> UserState:
    """The state of a user who has done this."""
    nothing = UserState(
        user_id,
        0,
        columns,
        WeightRule(),
        np.empty(0, np.int32),
        np.empty((0, len(KINDS))),
        np.empty(0),
        frozenset(joined),
        controls,
        unit=user_id,
    )
    return nothing.with_events(events)


def query_of(
    columns: Columns, state: UserState | None = None, now: int = 0, space: str | None = "s"
) -> Query:
    return Query(state or state_of(columns), NO_WISH, space, now)


def found_of(columns: Columns, hits: Hits) -> Found:
    """What a source has found; posts that the columns lack get rows."""
    rows = columns.reserve(item for item, _ in hits)
    return Found(rows, np.array([score for _, score in hits], np.float64))


def candidates_of(
    columns: Columns, scores: Mapping[str, float], found_by: Mapping[str, Sequence[str]], names: Sequence[str]
) -> Candidates:
    """Candidates that come from the first of `names`, with a mark of each source that has found them.

    `found_by` has by source the ids of its posts; each has the rank of its place in `scores` there.
    """
    ids = list(scores)
    ranks = np.array(
        [
            [place if item in found_by.get(name, ()) else 0 for place, item in enumerate(ids, 1)]
            for name in names
        ],
        np.int32,
    ).reshape(len(names), len(ids))
    trace = Trace()
    made = Candidates(
        columns.reserve(ids),
        np.array(list(scores.values()), np.float64),
        np.zeros(len(ids), np.int32),
        ranks,
        np.where(ranks > 0, 0.5, 0.0),
        (*names, NEW),
        trace,
    )
    for place, row in enumerate(made.rows.tolist()):
        for name, rank, score in made.found_by(place):
            trace.add(row, Mark(f"source:{name}", rank, score))
    return made


def listed(columns: Columns, candidates: Candidates) -> list[Listed]:
    """The candidates as values, in their order."""
    trace = candidates.trace or Trace()
    return [
        Listed(
            columns.ids[row],
            float(candidates.scores[place]),
            candidates.names[int(candidates.source[place])],
            trace.of(row),
            tuple(name for name, _, _ in candidates.found_by(place)),
        )
        for place, row in enumerate(candidates.rows.tolist())
    ]
