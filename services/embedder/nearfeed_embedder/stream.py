"""The streaming embedder: a new or edited post gets its vector in every live space.

The consumer of `items` only notes posts: a network is too slow to run while a transaction is open.
The loop `publish` encodes what was noted, and looks for what was not: posts that came before a space
did, or whose event was noted by a process that ended. So each post is published at least once. What was
noted goes first: of the rest only some are encoded at a time, by a part of the cores.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Engine, select

from nearfeed_contracts.event_log import EventLog, Record
from nearfeed_contracts.events import Event, Item, ItemDeleted, ItemVector, VectorArray
from nearfeed_contracts.tables import spaces
from nearfeed_contracts.topics import ITEM_VECTORS, record_of
from nearfeed_embedder.dataset import Post, text_of
from nearfeed_embedder.missing import live_spaces, missing_posts, stored_versions
from nearfeed_runtime.consume import Handlers
from nearfeed_runtime.polling import DatabaseVersion
from nearfeed_runtime.sql import chunks

GROUP = "embedder"
_PUBLISHED_FOR_SECONDS = 60.0
_MOST_AT_ONCE = 256
_REST_PER_LOOK = 20
_LONGEST_REST_SECONDS = 60.0
_POLL_SECONDS = 0.5
_SOME = min(_MOST_AT_ONCE, 32 * max(1, (os.cpu_count() or 1) // 2))

logger = structlog.get_logger(__name__)
PUBLISHED = Counter("nearfeed_vectors_published_total", "Vectors of posts put on the log.", ["space"])


Encoded = tuple[VectorArray, VectorArray | None]


class PostEncoder(Protocol):
    """Gives vectors (n, dim) and contexts (n, dim), or None where they are the same, to posts."""

    def encode(self, posts: Sequence[Post]) -> Encoded: ...


OpenEncoder = Callable[[str], PostEncoder | None]


class PendingPosts:
    """Posts that wait for their vectors, by id in their newest version. Safe for several threads."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._lock = threading.Lock()
        self._any = threading.Event()

    def add_items(self, _transaction: Connection, events: Sequence[Event]) -> None:
        with self._lock:
            for event in events:
                if isinstance(event, Item) and _is_newer(event, self._items.get(event.item_id)):
                    self._items[event.item_id] = event
        self._any.set()

    def forget_items(self, _transaction: Connection, events: Sequence[Event]) -> None:
        with self._lock:
            for event in events:
                if isinstance(event, ItemDeleted):
                    self._items.pop(event.item_id, None)

    def take(self, most: int) -> list[Item]:
        with self._lock:
            ids = list(self._items)[:most]
            return [self._items.pop(item_id) for item_id in ids]

    def wait(self, seconds: float) -> None:
        """Returns when a post was noted since the last call, or after `seconds`."""
        self._any.wait(seconds)
        self._any.clear()


def handlers(noted: PendingPosts, log: EventLog) -> Handlers:
    return {Item: [noted.add_items], ItemDeleted: [noted.forget_items, partial(bury_records, log)]}


def bury_records(log: EventLog, transaction: Connection, events: Sequence[Event]) -> None:
    """Lets compaction remove the vectors of deleted posts from the log: they name authors."""
    names = transaction.scalars(select(spaces.c.space)).all()
    gone = [event.item_id for event in events if isinstance(event, ItemDeleted)]
    keys = [(f"{space}/{item_id}", item_id) for item_id in gone for space in names]
    if keys:
        log.append([Record(ITEM_VECTORS.name, key, None, item_id) for key, item_id in keys])


class Publisher:
    """Puts vectors of posts on the log, once per space, post and version while these are applied."""

    def __init__(self, engine: Engine, log: EventLog, open_encoder: OpenEncoder, noted: PendingPosts) -> None:
        self._engine = engine
        self._log = log
        self._open_encoder = open_encoder
        self._noted = noted
        self._encoders: dict[str, PostEncoder | None] = {}
        self._published: dict[tuple[str, str, int], float] = {}
        self._reconciled: set[str] = set()
        self._reconcile_at = 0.0
        self._complete_at: int | None = None
        self._looked_for_seconds = 0.0

    def run(self, stop: threading.Event, *, reconcile_seconds: float) -> None:
        """Publishes until `stop` is set; a failing back end is tried again."""
        steps: Iterator[int] = iter(())
        with DatabaseVersion(self._engine) as version:
            while not stop.is_set():
                try:
                    self.publish_pending()
                    if next(steps, None) is not None:
                        continue
                    now = version.read()
                    if self._is_due(now):
                        steps = self._reconcile_in_steps(_SOME, reconcile_seconds, now)
                    else:
                        self._noted.wait(_POLL_SECONDS)
                except Exception:
                    logger.exception("vectors could not be published")
                    stop.wait(1.0)

    def publish_pending(self) -> int:
        """Publishes what the consumer has noted; returns how many vectors."""
        count = 0
        while noted := self._noted.take(_MOST_AT_ONCE):
            for space in self._encoders_by_space():
                stored = stored_versions(self._engine, space, [item.item_id for item in noted])
                fresh = [item for item in noted if item.version > stored.get(item.item_id, 0)]
                count += self._publish(space, fresh)
        return count

    def reconcile(self) -> int:
        """Publishes the vectors that live spaces lack; returns how many."""
        return sum(self._reconcile_in_steps(_MOST_AT_ONCE, 0.0))

    def _reconcile_in_steps(
        self, size: int, rest_seconds: float, version: int | None = None
    ) -> Iterator[int]:
        """Publishes what live spaces lack; yields after up to `size` posts how many vectors that were.

        At its end it says when the next look is due: what a look costs is a small share of the time, and
        none is due while the database has the `version` at which nothing was missing.
        """
        self._forget_published()
        self._looked_for_seconds = 0.0
        self._reconciled = set(live_spaces(self._engine))
        encoding = self._encoders_by_space()
        lacking = not self._reconciled <= self._encoders.keys()
        for space in encoding:
            for page in self._missing(space):
                lacking = True
                for some in chunks(page, size):
                    yield self._publish(space, some)
        rest = max(rest_seconds, min(_REST_PER_LOOK * self._looked_for_seconds, _LONGEST_REST_SECONDS))
        self._reconcile_at = time.monotonic() + rest
        self._complete_at = None if lacking else version

    def _missing(self, space: str) -> Iterator[list[Item]]:
        """The pages of `missing_posts`, and how long they took to find."""
        pages = missing_posts(self._engine, space)
        while True:
            started = time.monotonic()
            page = next(pages, None)
            self._looked_for_seconds += time.monotonic() - started
            if page is None:
                return
            yield page

    def _is_due(self, version: int | None) -> bool:
        """Whether posts without a vector are to be looked for: at times, and where a space is new.

        Not while the database has the version at which nothing was missing.
        """
        if version is not None and version == self._complete_at:
            return False
        if time.monotonic() >= self._reconcile_at:
            return True
        return bool(live_spaces(self._engine).keys() - self._reconciled)

    def _encoders_by_space(self) -> list[str]:
        """Live spaces that have an encoder; opens those of new spaces and drops those of past ones."""
        live = live_spaces(self._engine)
        self._encoders = {space: encoder for space, encoder in self._encoders.items() if space in live}
        for space, run_url in live.items():
            if space not in self._encoders:
                self._open(space, run_url)
        return [space for space, encoder in self._encoders.items() if encoder is not None]

    def _open(self, space: str, run_url: str) -> None:
        """A run that cannot be read now is tried again in the next round, and keeps no other from it."""
        try:
            self._encoders[space] = self._open_encoder(run_url)
        except Exception as error:
            logger.warning("encoder could not be opened", space=space, error=str(error))

    def _publish(self, space: str, items: Sequence[Item]) -> int:
        waiting = [item for item in items if (space, item.item_id, item.version) not in self._published]
        encoder = self._encoders.get(space)
        if not waiting or encoder is None:
            return 0
        events = self._encoded(space, encoder, waiting)
        if not events:
            return 0
        self._log.append([record_of(event) for event in events])
        now = time.monotonic()
        self._published.update({(space, event.item_id, event.version): now for event in events})
        PUBLISHED.labels(space).inc(len(events))
        return len(events)

    def _encoded(self, space: str, encoder: PostEncoder, items: Sequence[Item]) -> list[ItemVector]:
        """One that fails, for its files are gone, is opened anew in the next round."""
        try:
            vectors, contexts = encoder.encode([_post_of(item) for item in items])
        except Exception as error:
            logger.warning("posts could not be encoded", space=space, error=str(error))
            self._encoders.pop(space, None)
            return []
        return [
            _event_of(space, item, vectors[row], None if contexts is None else contexts[row])
            for row, item in enumerate(items)
        ]

    def _forget_published(self) -> None:
        oldest = time.monotonic() - _PUBLISHED_FOR_SECONDS
        self._published = {key: moment for key, moment in self._published.items() if moment > oldest}


def _is_newer(item: Item, noted: Item | None) -> bool:
    return noted is None or item.version > noted.version


def _post_of(item: Item) -> Post:
    return Post(item.item_id, item.community_id, item.tags, text_of(item.title, item.body))


def _event_of(space: str, item: Item, vector: VectorArray, context: VectorArray | None) -> ItemVector:
    return ItemVector(
        space=space,
        item_id=item.item_id,
        version=item.version,
        community_id=item.community_id,
        author_id=item.author_id,
        published_at=item.published_at,
        vector=vector,
        context=context,
        inferred=True,
    )
