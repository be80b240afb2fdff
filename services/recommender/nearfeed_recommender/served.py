"""The ledger in SQL, written from the topic `served` and pruned by age."""

from collections.abc import Sequence
from functools import partial

import orjson
from sqlalchemy import Connection, Engine, delete, select, update

from nearfeed_contracts.events import Event, Served
from nearfeed_contracts.fields import now_micros, to_micros
from nearfeed_contracts.tables import served_items, served_requests
from nearfeed_contracts.topics import READER_RETENTION
from nearfeed_recommender.erasures import erased_since
from nearfeed_runtime.consume import Handlers
from nearfeed_runtime.sql import chunks, committed, reading, upsert

GROUP = "ledger"
_PRUNED_AT_ONCE = 500


def handlers(secret: bytes) -> Handlers:
    return {Served: [partial(write_served, secret)]}


def write_served(secret: bytes, transaction: Connection, events: Sequence[Event]) -> None:
    """Keeps what was served, without readers who were erased since; a repetition changes nothing."""
    told = [event for event in events if isinstance(event, Served)]
    moments = [(event.user_id, to_micros(event.served_at)) for event in told]
    voided = erased_since(transaction, secret, moments)
    kept = [event for event, void in zip(told, voided, strict=True) if not void]
    upsert(transaction, served_requests, [_request_row(event) for event in kept])
    upsert(transaction, served_items, [row for event in kept for row in _item_rows(event)])


def prune(engine: Engine) -> int:
    """Removes what is older than records of readers are kept; returns whether there was anything."""
    before = now_micros() - int(READER_RETENTION.total_seconds() * 1_000_000)
    query = (
        select(served_requests.c.request_id)
        .where(served_requests.c.served_at < before)
        .limit(_PRUNED_AT_ONCE)
    )
    with reading(engine) as connection:
        old = sorted(set(connection.scalars(query)))
    if not old:
        return 0
    committed(engine, partial(_remove, request_ids=old))
    return 1


def forget_served(transaction: Connection, user_id: str) -> None:
    """Removes what a reader was served."""
    own = select(served_requests.c.request_id).where(served_requests.c.user_id == user_id)
    _remove(transaction, sorted(set(transaction.scalars(own))))
    by_unit = update(served_requests).where(served_requests.c.unit_id == user_id)
    transaction.execute(by_unit.values(unit_id=None))


def _remove(transaction: Connection, request_ids: Sequence[str]) -> None:
    for chunk in chunks(request_ids):
        for table in (served_items, served_requests):
            transaction.execute(delete(table).where(table.c.request_id.in_(chunk)))


def _request_row(event: Served) -> dict[str, object]:
    return {
        "request_id": event.request_id,
        "section": event.section,
        "user_id": event.user_id,
        "served_at": to_micros(event.served_at),
        "page": event.page,
        "provider": event.provider,
        "config_version": event.config_version,
        "space": event.space,
        "reader": orjson.dumps(event.reader).decode(),
    }


def _item_rows(event: Served) -> list[dict[str, object]]:
    return [
        {
            "request_id": event.request_id,
            "section": event.section,
            "position": item.position,
            "item_id": item.item_id,
            "source": item.source,
            "score": item.score,
            "inputs": orjson.dumps(item.inputs).decode(),
        }
        for item in event.items
    ]
