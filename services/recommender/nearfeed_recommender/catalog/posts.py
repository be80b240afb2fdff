"""Posts with their texts, as they are shown: read from SQL once for each version, encoded and kept.

Which version a post has, and whether it is deleted, the columns say, which a request brings to the state of
SQL before it begins.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine, bindparam, select

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.tables import items
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_runtime.point_reads import read_rows
from nearfeed_runtime.sql import chunks

_MOST_BYTES = 64 * 2**20
_OVERHEAD_BYTES = 400
_FIELDS = "item_id, community_id, author_id, title, body, tags, language, url, published_at"
_POSTS = select(*(items.c[name] for name in _FIELDS.split(", "))).where(
    items.c.item_id.in_(bindparam("ids", expanding=True)), items.c.deleted.is_(False)
)
_TEXTS = f"SELECT version, {_FIELDS} FROM items WHERE item_id IN ({{}}) AND NOT deleted"  # noqa: S608


@dataclass(frozen=True)
class Post:
    """A post's metadata."""

    id: str
    community_id: str
    author_id: str
    title: str
    body: str
    tags: tuple[str, ...]
    language: str | None
    url: str | None
    published_at: datetime


class PostText(NamedTuple):
    """A post that can be shown: `json` is its object without the closing brace."""

    version: int
    title: str
    community_id: str
    author_id: str
    json: bytes


def posts_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, Post]:
    """Undeleted posts by id."""
    found: dict[str, Post] = {}
    for chunk in chunks(list(ids)):
        rows = connection.execute(_POSTS, {"ids": chunk})
        found.update({post.id: post for row in rows if (post := _post_of(*row))})
    return found


class PostTexts:
    """Encoded posts by id, of which those read last are kept, up to a number of bytes. Thread-safe."""

    def __init__(self, engine: Engine, columns: Columns, most_bytes: int = _MOST_BYTES) -> None:
        self._engine, self._columns, self._most_bytes = engine, columns, most_bytes
        self._kept: dict[str, PostText] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def of(self, rows: Iterable[int]) -> dict[int, PostText]:
        """The posts of those rows that are live, in the versions that the columns have or in later ones."""
        columns = self._columns
        found: dict[int, PostText] = {}
        missing: dict[str, int] = {}
        for row in rows:
            if not columns.live[row]:
                continue
            item_id = columns.ids[row]
            text = self._kept.get(item_id)
            if text is not None and text.version >= columns.version[row]:
                found[row] = text
            else:
                missing[item_id] = row
        if missing:
            found |= {missing[item_id]: text for item_id, text in self._read(list(missing)).items()}
        return found

    def _read(self, ids: list[str]) -> dict[str, PostText]:
        read: dict[str, PostText] = {}
        for some in chunks(ids):
            statement = _TEXTS.format(", ".join("?" * len(some)))
            for version, *values in read_rows(self._engine, statement, some):
                read[values[0]] = _text_of(version, _post_of(*values))
        self._keep(read)
        return read

    def _keep(self, read: dict[str, PostText]) -> None:
        """Those that were read first go when there are too many."""
        with self._lock:
            for item_id, text in read.items():
                self._forget(item_id)
                self._kept[item_id] = text
                self._bytes += _bytes_of(text)
            while self._bytes > self._most_bytes:
                self._forget(next(iter(self._kept)))

    def _forget(self, item_id: str) -> None:
        text = self._kept.pop(item_id, None)
        if text is not None:
            self._bytes -= _bytes_of(text)


def _bytes_of(text: PostText) -> int:
    return len(text.json) + _OVERHEAD_BYTES


def encode_post(post: Post) -> bytes:
    """The JSON object of a post without its closing brace, so that fields can be added."""
    return orjson.dumps(vars(post), option=orjson.OPT_UTC_Z)[:-1]


def _text_of(version: int, post: Post) -> PostText:
    return PostText(version, post.title, post.community_id, post.author_id, encode_post(post))


def _post_of(*fields: Any) -> Post:
    """A post of the values of _FIELDS."""
    item_id, community_id, author_id, title, body, tags, language, url, published_at = fields
    return Post(
        id=item_id,
        community_id=community_id,
        author_id=author_id,
        title=title,
        body=body,
        tags=tuple(orjson.loads(tags)),
        language=language,
        url=url,
        published_at=from_micros(published_at),
    )
