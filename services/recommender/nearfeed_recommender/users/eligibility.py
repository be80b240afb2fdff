"""Which posts a user may and wants to see in one request: masks over columns, and the filter of a search."""

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nearfeed_contracts.vector_store import Filter as SearchFilter
from nearfeed_recommender.catalog.columns import Columns, Mask, Rows
from nearfeed_recommender.config.schema import Filter, LanguageFilter
from nearfeed_recommender.users.state import UserState, is_among

_SMALLEST_BLOCK = 64


@dataclass(frozen=True)
class Wish:
    """What a request asks for: these communities alone (none: no wish), and posts since a time.

    `published_after` is inclusive, in microseconds since 1970.
    """

    communities: frozenset[str] = frozenset()
    published_after: int | None = None


class Eligibility:
    """A user's wish under the named filters, without some posts (`without`: rows, sorted).

    Deletion, `blocked` and `hidden_topic` apply whether they are named or not. A user who has joined no
    community may see all. `communities` are those to choose from, None: all.
    """

    def __init__(
        self, state: UserState, wish: Wish, filters: tuple[Filter, ...], without: Rows | None = None
    ) -> None:
        self.state, self.wish, self.filters = state, wish, filters
        self.without = np.empty(0, np.int32) if without is None else without
        self.communities = _communities(state, wish, filters)
        self.published_after = wish.published_after if "date" in filters else None
        self._excluded = state.seen_or_unwanted if "seen" in filters else state.unwanted
        self._own = frozenset({state.user_id}) if "own" in filters else frozenset()
        self._hidden_authors = state.controls.authors | self._own
        self._languages = [rule for rule in filters if isinstance(rule, LanguageFilter)]

    def excluding(self, rows: Rows) -> "Eligibility":
        """The same without some posts."""
        if not len(rows):
            return self
        return Eligibility(self.state, self.wish, self.filters, np.union1d(self.without, rows))

    def since(self, moment: int) -> "Eligibility":
        """The same for posts published at `moment` (microseconds) or later, whatever the filters are."""
        after = max(moment, self.published_after or moment)
        wish = Wish(self.wish.communities, after)
        return Eligibility(self.state, wish, (*self.filters, "date"), self.without)

    def allows(self, rows: Rows) -> Mask:
        """Whether each of the posts (n) may be shown, as the columns say now."""
        mask = self._by_columns(rows)
        mask &= ~is_among(rows, self._excluded)
        if len(self.without):
            mask &= ~is_among(rows, self.without)
        return mask

    def mask(self) -> Mask:
        """The same for all rows that have been given out (rows)."""
        mask = self._by_columns(slice(len(self.state.columns)))
        mask[self._excluded] = False
        mask[self.without] = False
        return mask

    def _by_columns(self, rows: Rows | slice) -> Mask:
        """Whether the columns allow each of the posts (n)."""
        columns, controls = self.state.columns, self.state.controls
        mask = columns.live[rows].copy()
        # A table of codes is made after the codes were read, and knows all that were given until then. One
        # that it does not know is that of a post which was written meanwhile: it may not be shown.
        if self.communities is not None:
            community = columns.community[rows]
            mask &= _table(columns.communities.members(self.communities)).take(community, mode="clip")
        if self.published_after is not None:
            mask &= columns.published_at[rows] >= self.published_after
        if self._hidden_authors:
            author = columns.author[rows]
            mask &= _table(~columns.authors.members(self._hidden_authors)).take(author, mode="clip")
        if controls.tags:
            tag_set = columns.tag_set[rows]
            mask &= _table(~columns.sets_with(controls.tags)).take(tag_set, mode="clip")
        if self._languages:
            language = columns.language[rows]
            for rule in self._languages:
                mask &= _table(_in_language(columns, rule)).take(language, mode="clip")
        return mask

    def first(self, rows: Rows, limit: int) -> Rows:
        """The first `limit` of the posts (n) that may be shown; the rest is not looked at."""
        found: list[Rows] = []
        count, start, size = 0, 0, max(_SMALLEST_BLOCK, 2 * limit)
        while start < len(rows) and count < limit:
            some = rows[start : start + size]
            allowed = some[self.allows(some)]
            found.append(allowed)
            count, start, size = count + len(allowed), start + size, 2 * size
        return np.concatenate(found)[:limit] if found else np.empty(0, np.int32)

    def newest_since(self, moment: int, limit: int) -> Rows:
        """The newest `limit` posts that were published at `moment` or later and may be shown."""
        columns = self.state.columns
        newest = columns.newest_first()
        count = bisect_right(newest, -moment, key=lambda row: -columns.published_at[row])
        return self.first(newest[:count], limit)

    @cached_property
    def search_filter(self) -> SearchFilter:
        """The part of it that a vector store applies; tags and languages it does not know."""
        state = self.state
        excluded = state.seen_or_unwanted_ids if "seen" in self.filters else state.unwanted_ids
        if len(self.without):
            excluded |= {state.columns.ids[row] for row in self.without.tolist()}
        return SearchFilter(
            community_ids=self.communities,
            published_after=self.published_after,
            exclude_item_ids=excluded,
            exclude_author_ids=self._hidden_authors,
        )


def _communities(state: UserState, wish: Wish, filters: tuple[Filter, ...]) -> frozenset[str] | None:
    joined, wanted = state.joined, wish.communities
    if "membership" not in filters or not joined:
        return wanted or None
    return joined & wanted if wanted else joined


def _table(allowed: Mask) -> Mask:
    """By code whether it is allowed; False for codes that are not known, which `take` clips to the last."""
    return np.append(allowed, False)


def _in_language(columns: Columns, rule: LanguageFilter) -> Mask:
    return np.array([is_in(rule.language, language) for language in columns.languages.values], np.bool_)


def is_in(wanted: Collection[str], language: str | None) -> bool:
    """`en` has `en-GB` too, in any case (basic filtering, RFC 4647); an unknown language passes."""
    if language is None:
        return True
    parts = language.lower().split("-")
    prefixes = {"-".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return not prefixes.isdisjoint(each.lower() for each in wanted)
