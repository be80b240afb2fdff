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
from sqlalchemy import Connection, Engine, Row, bindparam, select

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.tables import items
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_runtime.sql import chunks, read_connection

_MOST_BYTES = 64 * 2**20
_OVERHEAD_BYTES = 400
_POSTS = select(items).where(
    items.c.item_id.in_(bindparam("ids", expanding=True)), items.c.deleted.is_(False)
)


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
        found.update({row.item_id: _post_of(row) for row in connection.execute(_POSTS, {"ids": chunk})})
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
        with read_connection(self._engine) as connection:
            read = {
                row.item_id: _text_of(row)
                for some in chunks(ids)
                for row in connection.execute(_POSTS, {"ids": some})
            }
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


def _text_of(row: Row[Any]) -> PostText:
    post = _post_of(row)
    return PostText(row.version, post.title, post.community_id, post.author_id, encode_post(post))


def _post_of(row: Row[Any]) -> Post:
    return Post(
        id=row.item_id,
        community_id=row.community_id,
        author_id=row.author_id,
        title=row.title,
        body=row.body,
        tags=tuple(orjson.loads(row.tags)),
        language=row.language,
        url=row.url,
        published_at=from_micros(row.published_at),
    )
