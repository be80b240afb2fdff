"""One search in the vector store for posts that a user may see.

A vector server takes a long list of excluded posts badly: the posts that may be shown are named instead
where they are few, or more posts are asked for and the excluded ones left out here. No store knows muted tags
and languages: where the closest posts are left out for these, more are asked for.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import Filter, Hits, VectorStore
from nearfeed_recommender.catalog.columns import Rows
from nearfeed_recommender.pipeline.candidates import NOTHING, Found
from nearfeed_recommender.users.eligibility import Eligibility

_MOST_EXCLUDED = 1_000
_MOST_NAMED = 2_000
_MOST_HITS = 10_000
_ASKED_MORE = 4


class EligibleSearch:
    """`in_process`: the store takes any filter at no cost."""

    def __init__(self, store: VectorStore, *, in_process: bool) -> None:
        self._store, self._in_process = store, in_process

    def nearest(self, space: str, vector: VectorArray, eligible: Eligibility, limit: int) -> Found:
        """The first `limit` posts by inner product that may be shown. Raises StoreUnavailableError.

        Where so many of the closest posts have a muted tag or another language that a server would have to
        name too many, they are those among the newest that may be shown.
        """
        asked = _Asked(space, vector, eligible, limit)
        where, counts = eligible.search_filter, (limit, _ASKED_MORE * limit, _MOST_HITS)
        if self._in_process or len(where.exclude_item_ids) <= _MOST_EXCLUDED:
            found = self._widened(asked, where, counts)
            return self._among(asked, self._named(eligible)) if found is None else found
        named = self._named(eligible)
        if len(named) <= _MOST_NAMED:
            return self._among(asked, named)
        open_filter = replace(where, exclude_item_ids=frozenset())
        for which, how_many in ((open_filter, counts[1:]), (where, counts)):
            found = self._widened(asked, which, how_many)
            if found is not None:
                return found
        return self._among(asked, named)

    def _widened(self, asked: "_Asked", where: Filter, counts: Sequence[int]) -> Found | None:
        """Asks for more as long as too few of the hits may be shown; None where the last were too few."""
        for count in counts:
            hits = self._store.search(asked.space, asked.vector, count, where)
            found = _shown(hits, asked)
            if len(found.rows) == asked.limit or len(hits) < count:
                return found
        return None

    def _named(self, eligible: Eligibility) -> Rows:
        """Posts that may be shown: all of them, or for a server one more than it may be given by name."""
        newest = eligible.state.columns.newest_first()
        return eligible.first(newest, len(newest) if self._in_process else _MOST_NAMED + 1)

    def _among(self, asked: "_Asked", rows: Rows) -> Found:
        """The closest of some posts."""
        if not len(rows):
            return NOTHING
        ids = asked.eligible.state.columns.ids
        where = Filter(item_ids=frozenset(ids[row] for row in rows.tolist()))
        return _shown(self._store.search(asked.space, asked.vector, asked.limit, where), asked)


class _Asked(NamedTuple):
    """A question; `limit` posts are wanted."""

    space: str
    vector: VectorArray
    eligible: Eligibility
    limit: int


def _shown(hits: Hits, asked: _Asked) -> Found:
    rows = asked.eligible.state.columns.rows_of(hits.item_ids)
    return first_eligible(rows, np.asarray(hits.scores, np.float64), asked.eligible, asked.limit)


def first_eligible(rows: np.ndarray, scores: np.ndarray, eligible: Eligibility, limit: int) -> Found:
    """The first `limit` of rows (n; -1: not known) that may be shown, each once, with their scores (n)."""
    known = np.flatnonzero(rows >= 0)
    kept = known[eligible.allows(rows[known])] if len(known) else known
    _, first = np.unique(rows[kept], return_index=True)
    if len(first) < len(kept):
        kept = kept[np.sort(first)]
    kept = kept[:limit]
    return Found(rows[kept], scores[kept])
