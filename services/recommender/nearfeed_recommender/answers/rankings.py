"""Stable pages: the ranking behind a first page is kept, and a cursor points into it."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter
from sqlalchemy import Connection, delete, select

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import feed_pages
from nearfeed_recommender.config.schema import Filter
from nearfeed_recommender.experiments.assigning import Assignment
from nearfeed_recommender.providers.candidates import SOURCE_MARK, Mark
from nearfeed_recommender.providers.pipeline import Ranked
from nearfeed_recommender.readers.resets import began_anew_at
from nearfeed_runtime.sql import upsert

_SIGNATURE_BYTES = 16
_FILTERS: TypeAdapter[tuple[Filter, ...]] = TypeAdapter(tuple[Filter, ...])


class InvalidCursorError(NearfeedError):
    """A cursor that this service did not make for this reader."""


class ExpiredCursorError(NearfeedError):
    """A cursor whose ranking is no longer kept."""


class Entry(NamedTuple):
    """A ranked post before it is shown; `kind` is that of its reason, `marks` tell of the steps."""

    item_id: str
    score: float
    source: str
    kind: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """What a first page ranked, best first, by which provider of which configuration, and for what."""

    request_id: str
    user_id: str
    space: str | None
    provider: str
    config_version: int
    failures: Mapping[str, str]
    filters: tuple[Filter, ...]
    communities: tuple[str, ...]
    published_after: int | None
    entries: tuple[Entry, ...]
    assignment: Assignment | None = None


def entries_of(ranked: Ranked, *, explain: bool) -> tuple[Entry, ...]:
    """The candidates of a provider; all their marks where they are to be explained, else those of sources."""
    return tuple(
        Entry(
            candidate.item_id,
            candidate.score,
            candidate.source,
            ranked.kinds[candidate.source],
            tuple(mark for mark in candidate.marks if explain or mark.step.startswith(SOURCE_MARK)),
        )
        for candidate in ranked.candidates
    )


def keep_ranking(transaction: Connection, ranking: Ranking, asked_at: int, ttl_micros: int) -> None:
    """Stores a ranking, and removes those whose time is over.

    `asked_at` is a time, in microseconds, before anything was read for it.
    """
    transaction.execute(delete(feed_pages).where(feed_pages.c.created_at < now_micros() - ttl_micros))
    row = {"request_id": ranking.request_id, "user_id": ranking.user_id, "created_at": asked_at}
    upsert(transaction, feed_pages, [{**row, "page": _encode(ranking)}])


def kept_ranking(connection: Connection, secret: bytes, request_id: str, ttl_micros: int) -> Ranking:
    """Raises ExpiredCursorError, also where the reader was reset or erased since."""
    query = select(feed_pages).where(
        feed_pages.c.request_id == request_id, feed_pages.c.created_at >= now_micros() - ttl_micros
    )
    row = connection.execute(query).one_or_none()
    if row is None or row.created_at <= began_anew_at(connection, secret, row.user_id):
        raise ExpiredCursorError("cursor: its page is no longer kept; ask anew without a cursor.")
    body = orjson.loads(row.page)
    body["entries"] = tuple(_entry(*entry) for entry in body["entries"])
    body["communities"] = tuple(body["communities"])
    body["filters"] = _FILTERS.validate_python(body["filters"])
    assignment = body.pop("assignment", None)
    return Ranking(**body, assignment=Assignment(**assignment) if assignment else None)


def _entry(item_id: str, score: float, source: str, kind: str, marks: list[list[Any]]) -> Entry:
    return Entry(item_id, score, source, kind, tuple(Mark(*mark) for mark in marks))


def sign_cursor(secret: bytes, user_id: str, request_id: str, position: int) -> str:
    """A cursor: request id and position, signed over the reader too."""
    payload = f"{request_id}.{position}"
    raw = _signature(secret, user_id, payload) + payload.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(secret: bytes, user_id: str, cursor: str) -> tuple[str, int]:
    """Request id and position. Raises InvalidCursorError."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:].decode()
        genuine = hmac.compare_digest(signature, _signature(secret, user_id, payload))
        request_id, position = payload.rsplit(".", 1)
        if genuine:
            return request_id, int(position)
    except (binascii.Error, ValueError):
        pass
    raise InvalidCursorError("cursor: it was not made by this service for this reader.")


def _encode(ranking: Ranking) -> str:
    body = {**vars(ranking), "failures": dict(ranking.failures)}
    body["filters"] = _FILTERS.dump_python(ranking.filters)
    return orjson.dumps(body, default=tuple).decode()


def _signature(secret: bytes, user_id: str, payload: str) -> bytes:
    message = orjson.dumps([user_id, payload])
    return hmac.new(secret, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
