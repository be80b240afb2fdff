"""The rows of a space in memory, as columns.

A row never changes once it is visible. An upsert of a known post appends a row and makes the former one
dead, a deletion makes a row dead, and both end by replacing one immutable snapshot. A search works on the
snapshot that it began with, so it waits for no writer and sees each upsert whole or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfeed_backends.embedded.name_codes import Codes, NameCodes
from nearfeed_contracts.vector_store import StoredVector

MIN_ROWS = 1_024
_GROWTH = 1.25
_COPIED_ROWS = 8_192
_DEAD_SHARE = 0.25
_LEAST_DEAD = 4_096


class Names(NamedTuple):
    """The dictionaries of a space."""

    items: NameCodes
    communities: NameCodes
    authors: NameCodes

    @classmethod
    def empty(cls) -> "Names":
        return cls(NameCodes(), NameCodes(), NameCodes())


@dataclass(frozen=True)
class Columns:
    """Row-aligned arrays: vectors (n, dim), codes of item, community and author (n), times (n)."""

    vectors: NDArray[np.float32]
    items: Codes
    communities: Codes
    authors: Codes
    published: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: int, dim: int) -> "Columns":
        items, communities, authors = np.empty((3, rows), np.int32)
        published = np.empty(rows, np.int64)
        return cls(np.empty((rows, dim), np.float32), items, communities, authors, published)

    def __len__(self) -> int:
        return len(self.items)

    def pick(self, rows: Any) -> "Columns":
        """Some rows; views where `rows` is a slice."""
        return Columns(
            self.vectors[rows],
            self.items[rows],
            self.communities[rows],
            self.authors[rows],
            self.published[rows],
        )

    @property
    def codes(self) -> tuple[Codes, Codes, Codes]:
        """In the order of Names."""
        return self.items, self.communities, self.authors

    def put(self, target: Any, rows: "Columns") -> None:
        """Writes rows at a slice or at an array of row numbers."""
        self.vectors[target] = rows.vectors
        self.items[target] = rows.items
        self.communities[target] = rows.communities
        self.authors[target] = rows.authors
        self.published[target] = rows.published


@dataclass(frozen=True)
class Snapshot:
    """A space at one moment.

    `live` (n): whether a row is the present one of its post. `latest` (items): the newest row of each item
    code, dead if the post is deleted, -1 if there is none.
    """

    names: Names
    columns: Columns
    live: NDArray[np.bool_]
    latest: Codes
    count: int

    def row_of(self, item_id: str) -> int | None:
        """The live row of a post."""
        code = self.names.items.find(item_id)
        if code is None or code >= len(self.latest):
            return None
        row = int(self.latest[code])
        return row if row >= 0 and self.live[row] else None


class SpaceRows:
    """The rows of one space. One thread at a time may write; `snapshot` can be read at any time.

    The arrays have room for rows that come. When it is used up, or when many rows are dead, the live rows
    are copied to new arrays, sorted by community: a search among some communities then reads memory in
    long runs, which is several times as fast as reading scattered rows.
    """

    def __init__(self, names: Names, columns: Columns, count: int) -> None:
        """The first `count` rows of `columns`, each item once; the others are room."""
        self._columns = columns
        self.snapshot = _snapshot(names, columns.pick(slice(count)))

    @classmethod
    def empty(cls, dim: int) -> "SpaceRows":
        return cls(Names.empty(), Columns.empty(MIN_ROWS, dim), 0)

    @property
    def dim(self) -> int:
        return int(self._columns.vectors.shape[1])

    def upsert(self, posts: Sequence[StoredVector]) -> None:
        """Puts posts with distinct ids and vectors of the space's dimension."""
        if not posts:
            return
        if len(self.snapshot.columns) + len(posts) > len(self._columns):
            self._move(len(posts))
        former = self.snapshot
        begin, end = len(former.columns), len(former.columns) + len(posts)
        rows = _encoded(posts, former.names)
        self._columns.put(slice(begin, end), rows)
        latest = np.full(len(former.names.items), -1, np.int32)
        latest[: len(former.latest)] = former.latest
        replaced = latest[rows.items]
        live = np.ones(end, np.bool_)
        live[:begin] = former.live
        live[replaced[replaced >= 0]] = False
        latest[rows.items] = np.arange(begin, end, dtype=np.int32)
        columns = self._columns.pick(slice(end))
        self._publish(replace(former, columns=columns, live=live, latest=latest))

    def delete(self, item_ids: Sequence[str]) -> None:
        former = self.snapshot
        rows = [row for row in map(former.row_of, item_ids) if row is not None]
        if rows:
            live = former.live.copy()
            live[rows] = False
            self._publish(replace(former, live=live))

    def _publish(self, snapshot: Snapshot) -> None:
        count = int(np.count_nonzero(snapshot.live))
        self.snapshot = replace(snapshot, count=count)
        dead = len(snapshot.live) - count
        if dead > max(_LEAST_DEAD, _DEAD_SHARE * len(snapshot.live)):
            self._move(0)

    def _move(self, more: int) -> None:
        """Copies the live rows to new arrays with room for `more` at least, and new dictionaries."""
        former = self.snapshot
        live = np.flatnonzero(former.live)
        order = live[np.argsort(former.columns.communities[live], kind="stable")]
        room = max(int((len(order) + more) * _GROWTH), MIN_ROWS)
        columns = Columns.empty(room, self.dim)
        for start in range(0, len(order), _COPIED_ROWS):
            some = order[start : start + _COPIED_ROWS]
            columns.put(slice(start, start + len(some)), former.columns.pick(some))
        names, used = Names.empty(), columns.pick(slice(len(order)))
        for codes, old, new in zip(used.codes, former.names, names, strict=True):
            codes[:] = _renumbered(codes, old, new)
        self._columns = columns
        self.snapshot = _snapshot(names, used)


def encoded_names(names: Sequence[str], codes: NameCodes) -> Codes:
    """The codes of names (n)."""
    return np.fromiter(map(codes.code_of, names), np.int32, len(names))


def _snapshot(names: Names, columns: Columns) -> Snapshot:
    """All of the rows live, each item once."""
    count = len(columns)
    latest = np.full(len(names.items), -1, np.int32)
    latest[columns.items] = np.arange(count, dtype=np.int32)
    return Snapshot(names, columns, np.ones(count, np.bool_), latest, count)


def _encoded(posts: Sequence[StoredVector], names: Names) -> Columns:
    return Columns(
        np.stack([np.asarray(post.vector, np.float32) for post in posts]),
        encoded_names([post.item_id for post in posts], names.items),
        encoded_names([post.community_id for post in posts], names.communities),
        encoded_names([post.author_id for post in posts], names.authors),
        np.array([post.published_at for post in posts], np.int64),
    )


def _renumbered(codes: Codes, former: NameCodes, names: NameCodes) -> Codes:
    used, inverse = np.unique(codes, return_inverse=True)
    return encoded_names([former.names[code] for code in used.tolist()], names)[inverse]
