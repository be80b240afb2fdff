"""The rankings behind cursors: in memory at once, in SQL a moment later, for 30 minutes.

A first page is answered before its ranking is committed: one writer commits those of some moments together.
The process that made a ranking has it in memory until then; another one waits for it for a moment.
"""

import base64
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import orjson
import structlog
from cachetools import LRUCache
from numpy.typing import NDArray
from prometheus_client import Counter
from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine, delete, select

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import feed_pages
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.config.schema import Filter
from nearfeed_recommender.experiments.assignment import Assignment
from nearfeed_recommender.pipeline.candidates import Candidates, Mark, Ranks, Trace, Values
from nearfeed_recommender.serving.response import Order
from nearfeed_recommender.users.eligibility import Wish
from nearfeed_runtime.sql import chunks, committed, read_connection, upsert

logger = structlog.get_logger(__name__)
LOST = Counter(
    "nearfeed_rankings_lost_total",
    "Rankings that SQL did not take before too many waited: their cursors end.",
)
_MOST_BYTES = 64 * 2**20
_MOST_WAITING = 20_000
_FLUSH_SECONDS = 0.05
_IDLE_SECONDS = 0.2
_RETRY_SECONDS = 1.0
_PRUNE_SECONDS = 30.0
_PRUNED_AT_ONCE = 500
_AT_ONCE = 200
_COMMITTED_WITHIN_MICROS = 10_000_000
_WAIT_SECONDS = 0.5
_LOOK_SECONDS = 0.02
_FORMAT = 2  # of `page`; a ranking in the format of another version of Nearfeed has expired
_FILTERS: TypeAdapter[tuple[Filter, ...]] = TypeAdapter(tuple[Filter, ...])


class ExpiredCursorError(NearfeedError):
    """A cursor whose ranking is no longer kept."""


@dataclass(frozen=True)
class Ranking:
    """What a first page ranked, best first, by which provider of which configuration, and for what.

    `created_at` is a time, in microseconds, before anything was read for it.
    """

    request_id: str
    user_id: str
    created_at: int
    space: str | None
    provider: str
    config_version: int
    failures: Mapping[str, str]
    filters: tuple[Filter, ...]
    wish: Wish
    order: Order
    assignment: Assignment | None = None

    @property
    def bytes(self) -> int:
        """About what it takes in memory."""
        candidates = self.order.candidates
        return 2_000 + len(candidates) * (16 + 12 * len(candidates.ranks))


class _Waiting(NamedTuple):
    """A ranking that SQL lacks, and its row, which is encoded by the thread that has made the ranking.

    So the one that writes seldom holds the interpreter, for which each feed would wait again and again.
    """

    ranking: Ranking
    row: dict[str, Any]


class Rankings:
    """Thread-safe. `run` writes what waits, and removes rankings of more than `ttl_micros`."""

    def __init__(
        self, engine: Engine, columns: Columns, ttl_micros: int, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._engine, self._columns, self._ttl_micros = engine, columns, ttl_micros
        self._kept: LRUCache[str, Ranking] = LRUCache(most_bytes, getsizeof=lambda ranking: ranking.bytes)
        self._waiting: dict[str, _Waiting] = {}
        self._lock = threading.Lock()
        self._pruned_at = 0.0

    def put(self, ranking: Ranking) -> None:
        """Keeps a ranking. Where SQL takes none for long, the oldest that wait are lost."""
        waiting = _Waiting(ranking, _row(ranking, self._columns))
        with self._lock:
            if ranking.bytes <= self._kept.maxsize:
                self._kept[ranking.request_id] = ranking
            self._waiting[ranking.request_id] = waiting
            if len(self._waiting) > _MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
                LOST.inc()

    def get(self, request_id: str, served_at: int) -> Ranking:
        """The ranking of a request that was served at a time in microseconds. Raises ExpiredCursorError."""
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            with self._lock:
                found, waiting = self._kept.get(request_id), self._waiting.get(request_id)
            ranking = found or (waiting.ranking if waiting else self._read(request_id))
            now = now_micros()
            if ranking is not None and ranking.created_at >= now - self._ttl_micros:
                return ranking
            may_come = ranking is None and served_at > now - min(_COMMITTED_WITHIN_MICROS, self._ttl_micros)
            if not may_come or time.monotonic() >= until:
                raise expired()
            time.sleep(_LOOK_SECONDS)

    def forget(self, user_id: str) -> None:
        """Lets go of what this process has of a user."""
        with self._lock:
            for request_id in [key for key, ranking in self._kept.items() if ranking.user_id == user_id]:
                del self._kept[request_id]
            for request_id in [key for key, each in self._waiting.items() if each.ranking.user_id == user_id]:
                del self._waiting[request_id]

    def run(self, stop: threading.Event) -> None:
        """Writes until `stop` is set, and once more then."""
        pause = _IDLE_SECONDS
        while not stop.wait(pause):
            try:
                pause = _FLUSH_SECONDS if self.flush() else _IDLE_SECONDS
                self._prune_if_due()
            except Exception as error:
                logger.warning("rankings wait for the database", error=str(error))
                pause = _RETRY_SECONDS
        self.flush()

    def flush(self) -> int:
        """Writes what waits; returns how many rankings."""
        written = 0
        while True:
            with self._lock:
                some = dict(list(self._waiting.items())[:_AT_ONCE])
            if not some:
                return written
            rows = [each.row for each in some.values()]
            committed(self._engine, partial(upsert, table=feed_pages, rows=rows))
            with self._lock:
                for request_id in some:
                    self._waiting.pop(request_id, None)
            written += len(some)

    def _prune_if_due(self) -> None:
        if time.monotonic() - self._pruned_at < _PRUNE_SECONDS:
            return
        self._pruned_at = time.monotonic()
        before = now_micros() - self._ttl_micros
        with read_connection(self._engine) as connection:
            old = connection.scalars(
                select(feed_pages.c.request_id).where(feed_pages.c.created_at < before)
            ).all()
        for some in chunks(old, _PRUNED_AT_ONCE):
            committed(self._engine, partial(_remove, request_ids=some))

    def _read(self, request_id: str) -> Ranking | None:
        with read_connection(self._engine) as connection:
            row = connection.execute(
                select(feed_pages).where(feed_pages.c.request_id == request_id)
            ).one_or_none()
        return None if row is None else _ranking_of(dict(row._mapping), self._columns)


def _remove(transaction: Connection, request_ids: Sequence[str]) -> None:
    transaction.execute(delete(feed_pages).where(feed_pages.c.request_id.in_(request_ids)))


def expired() -> ExpiredCursorError:
    """What a cursor gets whose ranking is not kept."""
    return ExpiredCursorError("cursor: its page is no longer kept; ask again without a cursor.")


def _row(ranking: Ranking, columns: Columns) -> dict[str, Any]:
    candidates = ranking.order.candidates
    ids = columns.ids
    trace = candidates.trace
    body = {
        "format": _FORMAT,
        "space": ranking.space,
        "provider": ranking.provider,
        "config_version": ranking.config_version,
        "failures": dict(ranking.failures),
        "filters": _FILTERS.dump_python(ranking.filters),
        "communities": sorted(ranking.wish.communities),
        "published_after": ranking.wish.published_after,
        "assignment": vars(ranking.assignment) if ranking.assignment else None,
        "names": list(candidates.names),
        "kinds": list(ranking.order.kinds),
        "items": list(map(ids.__getitem__, candidates.rows.tolist())),
        "scores": _packed(candidates.scores),
        "sources": _packed(candidates.source),
        "found": _found(candidates.ranks, candidates.source_scores),
        "marks": [trace.of(row) for row in candidates.rows.tolist()] if trace else None,
    }
    page = orjson.dumps(body, default=tuple).decode()
    return {
        "request_id": ranking.request_id,
        "user_id": ranking.user_id,
        "created_at": ranking.created_at,
        "page": page,
    }


def _found(ranks: Ranks, scores: Values) -> dict[str, str]:
    """What the sources have found, all (sources, candidates): where, and the ranks and scores there."""
    found = ranks > 0
    return {
        "where": _packed(np.packbits(found)),
        "ranks": _packed(ranks[found]),
        "scores": _packed(scores[found]),
    }


def _packed(values: NDArray[Any]) -> str:
    """Base64 of the numbers in the smallest of a few types that has them exactly, after the type's letter."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            packed = values.astype("<f4")
        if not np.array_equal(packed, values):
            packed = values.astype("<f8")
    else:
        packed = values.astype(np.min_scalar_type(values.max(initial=0)).newbyteorder("<"))
    return packed.dtype.str[1:] + base64.b64encode(packed.data).decode()


def _unpacked(text: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text[2:]), f"<{text[:2]}")


def _ranking_of(row: Mapping[str, Any], columns: Columns) -> Ranking | None:
    body = orjson.loads(row["page"])
    if body.get("format") != _FORMAT:
        return None
    assignment = body["assignment"]
    return Ranking(
        request_id=row["request_id"],
        user_id=row["user_id"],
        created_at=row["created_at"],
        space=body["space"],
        provider=body["provider"],
        config_version=body["config_version"],
        failures=body["failures"],
        filters=_FILTERS.validate_python(body["filters"]),
        wish=Wish(frozenset(body["communities"]), body["published_after"]),
        order=Order(_candidates_of(body, columns), body["kinds"]),
        assignment=Assignment(**assignment) if assignment else None,
    )


def _candidates_of(body: Mapping[str, Any], columns: Columns) -> Candidates:
    rows = columns.reserve(body["items"])
    ranks = np.zeros((len(body["names"]) - 1, len(rows)), np.int32)
    scores = np.zeros(ranks.shape)
    places = np.unpackbits(_unpacked(body["found"]["where"]), count=ranks.size)
    found = places.astype(np.bool_).reshape(ranks.shape)
    ranks[found], scores[found] = _unpacked(body["found"]["ranks"]), _unpacked(body["found"]["scores"])
    return Candidates(
        rows,
        _unpacked(body["scores"]).astype(np.float64),
        _unpacked(body["sources"]).astype(np.int32),
        ranks,
        scores,
        body["names"],
        _trace(rows.tolist(), body["marks"]),
    )


def _trace(rows: Sequence[int], marks: Sequence[Iterable[Sequence[Any]]] | None) -> Trace | None:
    if marks is None:
        return None
    trace = Trace()
    for row, own in zip(rows, marks, strict=True):
        for mark in own:
            trace.add(row, Mark(*mark))
    return trace
