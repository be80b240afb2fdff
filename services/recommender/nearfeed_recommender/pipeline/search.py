"""Searches in the vector store for posts that a user may see."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from cachetools import LRUCache

from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import Filter, Hits, InProcessStore, SpaceView, VectorStore
from nearfeed_recommender.catalog.columns import Columns, Rows
from nearfeed_recommender.catalog.spaces import StoredVectors
from nearfeed_recommender.pipeline.candidates import NOTHING, Found
from nearfeed_recommender.users.eligibility import Eligibility

_MOST_COMPARED = 500
_MOST_EXCLUDED = 1_000
_MOST_NAMED = 2_000
_MOST_HITS = 10_000
_ASKED_MORE = 4
_SPACES = 16


class Search(Protocol):
    """A vector store, asked for what a user may see. Thread-safe."""

    def nearest(self, space: str, vector: VectorArray, eligible: Eligibility, limit: int) -> Found:
        """The first `limit` posts by inner product that may be shown. Raises StoreUnavailableError."""
        ...

    def nearest_to_each(
        self, space: str, vectors: Sequence[VectorArray], eligible: Eligibility, limit: int
    ) -> list[Found]:
        """What `nearest` finds with each of the vectors, in one question where the store can."""
        ...


def open_search(store: VectorStore, stored: StoredVectors, *, in_process: bool) -> Search:
    """The search of a store, whose vectors `stored` keeps; `in_process`: it takes any filter at no cost."""
    if isinstance(store, InProcessStore):
        return MaskedSearch(store)
    return FilteredSearch(store, stored, in_process)


class _Layout(NamedTuple):
    """The rows in the columns (n) of the first rows of a store's layout."""

    layout: object
    posts: Rows


class MaskedSearch:
    """In a store of this process: the columns say which of its rows may be shown."""

    def __init__(self, store: InProcessStore) -> None:
        self._store = store
        self._layouts: LRUCache[str, _Layout] = LRUCache(_SPACES)
        self._lock = threading.Lock()

    def nearest(self, space: str, vector: VectorArray, eligible: Eligibility, limit: int) -> Found:
        return self.nearest_to_each(space, [vector], eligible, limit)[0]

    def nearest_to_each(
        self, space: str, vectors: Sequence[VectorArray], eligible: Eligibility, limit: int
    ) -> list[Found]:
        view = self._store.view(space)
        posts = self._posts_of(space, view, eligible.state.columns)
        allowed = eligible.mask()[posts]
        found = [view.nearest(vector, limit, allowed) for vector in vectors]
        return [Found(posts[rows], scores.astype(np.float64)) for rows, scores in found]

    def _posts_of(self, space: str, view: SpaceView, columns: Columns) -> Rows:
        """The rows in the columns (n) of the posts of a view."""
        with self._lock:
            kept = self._layouts.get(space)
            posts = np.empty(0, np.int32) if kept is None or kept.layout is not view.layout else kept.posts
            if len(posts) < len(view):
                posts = np.concatenate([posts, columns.reserve(view.item_ids(len(posts)))])
                self._layouts[space] = _Layout(view.layout, posts)
        return posts[: len(view)]


@dataclass(frozen=True)
class FilteredSearch:
    """In a store that takes a filter, which knows no topics and languages, and in a server no long lists.

    A vector server compares each post with a list of excluded ones. It is asked for that many more instead,
    and the excluded ones are left out here; where few posts may be shown, these are named. Where the closest
    posts are left out for a muted tag or their language, more are asked for; where they are so many that a
    server would have to name too many posts, those are found that are among the newest that may be shown.

    Up to 500 posts since a date are compared here, with vectors that are kept, so that a feed asks a server
    once: for what is closest of all posts.
    """

    store: VectorStore
    stored: StoredVectors
    in_process: bool

    def nearest(self, space: str, vector: VectorArray, eligible: Eligibility, limit: int) -> Found:
        return self.nearest_to_each(space, [vector], eligible, limit)[0]

    def nearest_to_each(
        self, space: str, vectors: Sequence[VectorArray], eligible: Eligibility, limit: int
    ) -> list[Found]:
        asked, where = _Asked(space, vectors, eligible, limit), eligible.search_filter
        found = self._in_process(asked, where) if self.in_process else self._on_server(asked, where)
        return self._among(asked, self._named(eligible)) if found is None else found

    def _in_process(self, asked: "_Asked", where: Filter) -> list[Found] | None:
        return self._widened(asked, where, _counts(asked.limit))

    def _on_server(self, asked: "_Asked", where: Filter) -> list[Found] | None:
        eligible, excluded = asked.eligible, len(where.exclude_item_ids)
        if where.published_after is not None:
            new = eligible.newest_since(where.published_after, _MOST_COMPARED + 1)
            if len(new) <= _MOST_COMPARED:
                return self._compared(asked, new)
        if excluded > _MOST_EXCLUDED:
            named = self._named(eligible)
            if len(named) <= _MOST_NAMED:
                return self._among(asked, named)
        open_filter = replace(where, exclude_item_ids=frozenset())
        found = self._widened(asked, open_filter, _counts(asked.limit + min(excluded, _MOST_EXCLUDED)))
        return self._widened(asked, where, _counts(asked.limit)) if found is None else found

    def _widened(self, asked: "_Asked", where: Filter, counts: Sequence[int]) -> list[Found] | None:
        """Asks for more as long as too few of the hits may be shown; None where the last were too few."""
        for count in counts:
            hits = self._hits(asked, count, where)
            found = [_shown(each.item_ids, each.scores, asked) for each in hits]
            if all(
                len(shown.rows) == asked.limit or len(each) < count
                for shown, each in zip(found, hits, strict=True)
            ):
                return found
        return None

    def _named(self, eligible: Eligibility) -> Rows:
        """Posts that may be shown: all of them, or for a server one more than it may be given by name."""
        newest = eligible.state.columns.newest_first()
        return eligible.first(newest, len(newest) if self.in_process else _MOST_NAMED + 1)

    def _among(self, asked: "_Asked", rows: Rows) -> list[Found]:
        """The closest of some posts."""
        if not len(rows):
            return [NOTHING for _ in asked.vectors]
        ids = asked.eligible.state.columns.ids
        where = Filter(item_ids=frozenset(ids[row] for row in rows.tolist()))
        hits = self._hits(asked, asked.limit, where)
        return [_shown(each.item_ids, each.scores, asked) for each in hits]

    def _compared(self, asked: "_Asked", rows: Rows) -> list[Found]:
        """The closest of some posts (n), by their vectors."""
        vectors = self.stored.of(asked.space, rows)
        if not vectors:
            return [NOTHING for _ in asked.vectors]
        known = np.fromiter(vectors, np.int32, len(vectors))
        scores = np.stack(list(vectors.values())) @ np.stack(asked.vectors).T
        best = np.argsort(-scores, axis=0, kind="stable")[: asked.limit].T
        return [
            Found(known[places], of_each[places].astype(np.float64))
            for places, of_each in zip(best, scores.T, strict=True)
        ]

    def _hits(self, asked: "_Asked", count: int, where: Filter) -> list[Hits]:
        if len(asked.vectors) == 1:
            return [self.store.search(asked.space, asked.vectors[0], count, where)]
        return self.store.search_many(asked.space, asked.vectors, count, where)


def _counts(first: int) -> tuple[int, int, int]:
    """How many hits are asked for, one after the other, as long as too few of them may be shown."""
    return first, _ASKED_MORE * first, _MOST_HITS


class _Asked(NamedTuple):
    """A question; `limit` posts are wanted for each of the vectors."""

    space: str
    vectors: Sequence[VectorArray]
    eligible: Eligibility
    limit: int


def _shown(item_ids: Sequence[str], scores: np.ndarray, asked: _Asked) -> Found:
    rows = asked.eligible.state.columns.rows_of(item_ids)
    return first_eligible(rows, np.asarray(scores, np.float64), asked.eligible, asked.limit)


def first_eligible(rows: np.ndarray, scores: np.ndarray, eligible: Eligibility, limit: int) -> Found:
    """The first `limit` of rows (n; -1: not known) that may be shown, each once, with their scores (n)."""
    known = np.flatnonzero(rows >= 0)
    kept = known[eligible.allows(rows[known])] if len(known) else known
    _, first = np.unique(rows[kept], return_index=True)
    if len(first) < len(kept):
        kept = kept[np.sort(first)]
    kept = kept[:limit]
    return Found(rows[kept], scores[kept])
