"""Live posts as columns: what ranking and filters look at, in numpy arrays with one row per post.

A row number is given to an id once and never to another, so that it can be kept. An id that no live
post has may have a row too: it is not live, and becomes so when the post comes. About 60 bytes a post
beside its id.
"""

import threading
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
K = TypeVar("K", bound=Hashable)

_SMALLEST = 1_024


class PostFacts(NamedTuple):
    """A post without its text; `published_at` in microseconds since 1970, None for a deleted post."""

    item_id: str
    version: int
    community_id: str = ""
    author_id: str = ""
    tags: tuple[str, ...] = ()
    language: str | None = None
    published_at: int | None = None


class Codes(Generic[K]):
    """Numbers for values of a column, from 0 in the order in which they come."""

    def __init__(self) -> None:
        self.values: list[K] = []
        self._numbers: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self.values)

    def add(self, value: K) -> int:
        """The number of a value, which gets the next one where it is new."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number

    def find(self, value: K) -> int | None:
        return self._numbers.get(value)

    def members(self, values: Iterable[K]) -> Mask:
        """A mask over all numbers (len) that is True for those of `values`."""
        mask = np.zeros(len(self.values), np.bool_)
        known = [number for value in values if (number := self._numbers.get(value)) is not None]
        mask[[number for number in known if number < len(mask)]] = True
        return mask


class Columns:
    """The arrays, each (capacity); those of rows that no post has hold zeros.

    Any thread may read. Writes are one after the other, and a row becomes live after all else of it is
    there. `community`, `author`, `language` and `tag_set` are numbers of `communities`, `authors`, and so
    on; `published_at` is in microseconds since 1970.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._rows: dict[str, int] = {}
        self.communities, self.authors = Codes[str](), Codes[str]()
        self.languages, self.tag_sets = Codes[str | None](), Codes[tuple[str, ...]]()
        self._sets_of_tag: dict[str, list[int]] = {}
        self._writing = threading.RLock()
        self.live = np.zeros(_SMALLEST, np.bool_)
        self.community = np.zeros(_SMALLEST, np.int32)
        self.author = np.zeros(_SMALLEST, np.int32)
        self.language = np.zeros(_SMALLEST, np.int32)
        self.tag_set = np.zeros(_SMALLEST, np.int32)
        self.published_at = np.zeros(_SMALLEST, np.int64)
        self.version = np.zeros(_SMALLEST, np.int64)
        self._newest = np.empty(0, np.int32)
        self._moved: set[int] = set()

    def __len__(self) -> int:
        """Rows that have been given out."""
        return len(self.ids)

    def rows_of(self, ids: Iterable[str]) -> Rows:
        """The row (n) of each id, -1 for one that has none."""
        return np.fromiter(map(self._rows.get, ids, repeat(-1)), np.int32)

    def row_of(self, item_id: str) -> int:
        """The row of an id, -1 where it has none."""
        return self._rows.get(item_id, -1)

    def has_live(self, item_id: str) -> bool:
        """Whether a post of this id is there and not deleted."""
        row = self._rows.get(item_id)
        return row is not None and bool(self.live[row])

    def reserve(self, ids: Iterable[str]) -> Rows:
        """The row (n) of each id; one that has none gets a row that is not live."""
        wanted = list(ids)
        found = self.rows_of(wanted)
        if (found < 0).any():
            with self._writing:
                found = np.array([self._row(item_id) for item_id in wanted], np.int32)
        return found

    def put(self, posts: Collection[PostFacts]) -> None:
        """Takes in posts; one whose row has a higher version already is left out."""
        with self._writing:
            rows = [self._row(post.item_id) for post in posts]
            for row, post in zip(rows, posts, strict=True):
                if post.version >= self.version[row]:
                    self._write(row, post)

    def tags_of(self, row: int) -> tuple[str, ...]:
        return self.tag_sets.values[int(self.tag_set[row])]

    def facts_of(self, row: int) -> PostFacts:
        """What the row says of its post."""
        return PostFacts(
            self.ids[row],
            int(self.version[row]),
            self.communities.values[self.community[row]],
            self.authors.values[self.author[row]],
            self.tags_of(row),
            self.languages.values[self.language[row]],
            int(self.published_at[row]) if self.live[row] else None,
        )

    def sets_with(self, tags: Iterable[str]) -> Mask:
        """A mask over `tag_sets` that is True for those that hold one of the tags."""
        mask = np.zeros(len(self.tag_sets), np.bool_)
        for tag in tags:
            mask[[number for number in self._sets_of_tag.get(tag, ()) if number < len(mask)]] = True
        return mask

    def newest_first(self) -> Rows:
        """All live rows, those published last first; of equals the highest id. Not to be written to."""
        with self._writing:
            if self._moved:
                self._newest = self._with_moved()
                self._moved = set()
            return self._newest

    def _with_moved(self) -> Rows:
        """The order with the rows that were written since it was made: O(n), without sorting all."""
        moved = np.fromiter(self._moved, np.int32, len(self._moved))
        stale = np.zeros(len(self.live), np.bool_)
        stale[moved] = True
        kept = self._newest[~stale[self._newest]]
        coming = moved[self.live[moved]]
        coming = coming[np.lexsort((-coming, -self.published_at[coming]))]
        at = np.searchsorted(-self.published_at[kept], -self.published_at[coming], side="left")
        order = np.insert(kept, at, coming)
        for start, end in _runs(self.published_at[order], stale[order]):
            order[start:end] = sorted(order[start:end].tolist(), key=self.ids.__getitem__, reverse=True)
        return order

    def _row(self, item_id: str) -> int:
        row = self._rows.get(item_id)
        if row is None:
            row = len(self.ids)
            if row >= len(self.live):
                self._grow(2 * len(self.live))
            self.ids.append(item_id)
            self._rows[item_id] = row
        return row

    def _write(self, row: int, post: PostFacts) -> None:
        self._moved.add(row)
        if post.published_at is None:
            self.live[row] = False
            self.version[row] = post.version
            return
        self.community[row] = self.communities.add(post.community_id)
        self.author[row] = self.authors.add(post.author_id)
        self.language[row] = self.languages.add(post.language)
        self.tag_set[row] = self._tag_set(post.tags)
        self.published_at[row] = post.published_at
        self.version[row] = post.version
        self.live[row] = True

    def _tag_set(self, tags: tuple[str, ...]) -> int:
        known = len(self.tag_sets)
        number = self.tag_sets.add(tags)
        if number == known:
            for tag in set(tags):
                self._sets_of_tag.setdefault(tag, []).append(number)
        return number

    def _grow(self, size: int) -> None:
        for name in ("community", "author", "language", "tag_set", "published_at", "version", "live"):
            before = getattr(self, name)
            after = np.zeros(size, before.dtype)
            after[: len(before)] = before
            setattr(self, name, after)


def _runs(values: NDArray[np.int64], marked: Mask) -> Iterator[tuple[int, int]]:
    """Starts and ends of the runs of two and more equal values (n) of which one is marked."""
    if not len(values):
        return
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    ends = np.append(starts[1:], len(values))
    some = (ends - starts > 1) & (np.add.reduceat(marked, starts, dtype=np.int64) > 0)
    yield from zip(starts[some].tolist(), ends[some].tolist(), strict=True)


def distinct(rows: Sequence[int] | Rows) -> Rows:
    """Rows (n) in their order, each once, without -1."""
    found = np.asarray(rows, np.int32)
    found = found[found >= 0]
    _, first = np.unique(found, return_index=True)
    return found if len(first) == len(found) else found[np.sort(first)]
