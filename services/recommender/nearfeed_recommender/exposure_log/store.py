"""The ledger in SQL, written from the topic `served` and pruned by age."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Column, Connection, Engine, delete, select, update

from nearfeed_contracts.event_log import Message
from nearfeed_contracts.events import Event, Impression, Interaction, Served, UnreadableEventError
from nearfeed_contracts.fields import now_micros, to_micros
from nearfeed_contracts.tables import outcomes, served_items, served_requests
from nearfeed_contracts.topics import INTERACTIONS, SERVED
from nearfeed_recommender.exposure_log.outcomes import (
    RETENTION_MICROS,
    AttributionSettings,
    claim_readers,
    keep_outcomes,
    settle_answers,
)
from nearfeed_recommender.exposure_log.writer import prune_losses
from nearfeed_recommender.identity.erasures import erased_since
from nearfeed_runtime.consume import Handlers, events_of
from nearfeed_runtime.sql import chunks, committed, let_others_write, read_connection, upsert_tuples

GROUP = "ledger"
TOPICS = [SERVED.name, INTERACTIONS.name]
_PRUNED_AT_ONCE = 500


def handlers(joining: AttributionSettings) -> Handlers:
    """The flow from an event to what it changes; their order does not matter."""
    keep = [partial(keep_outcomes, joining)]
    return {Served: [partial(write_served, joining)], Impression: keep, Interaction: keep}


def events_read(message: Message) -> Sequence[Event]:
    """The event of a message. An action that cannot be read is told of by the group that makes readings."""
    try:
        return events_of(message)
    except UnreadableEventError:
        if message.topic == INTERACTIONS.name:
            return []
        raise


def write_served(joining: AttributionSettings, transaction: Connection, events: Sequence[Event]) -> None:
    """Keeps what was served, without readers who were erased since; a repetition changes nothing.

    Of a feed whose pages were asked for one by one, the row of the request is that of the first.
    """
    told = [event for event in events if isinstance(event, Served)]
    claim_readers(transaction, {event.user_id for event in told})
    moments = [(event.user_id, to_micros(event.served_at)) for event in told]
    voided = erased_since(transaction, joining.secret, moments)
    kept = [event for event, void in zip(told, voided, strict=True) if not void]
    first = [_request_row(event) for event in kept if not _goes_on(event)]
    later = [_request_row(event) for event in kept if _goes_on(event)]
    upsert_tuples(transaction, served_requests, first)
    upsert_tuples(transaction, served_requests, later, keep=served_requests.c.keys())
    upsert_tuples(transaction, served_items, [row for event in kept for row in _item_rows(event)])
    settle_answers(joining, transaction, {event.request_id for event in kept})


def prune_all(engine: Engine) -> None:
    """Removes all that is older than records of readers are kept, little by little."""
    while prune(engine):
        let_others_write(engine)


def prune(engine: Engine) -> int:
    """Removes some of what is older than records of readers are kept; returns whether there was anything."""
    before = now_micros() - RETENTION_MICROS
    with read_connection(engine) as connection:
        old = _oldest(connection, served_requests.c.request_id, served_requests.c.served_at, before)
        times = _oldest(connection, outcomes.c.occurred_at, outcomes.c.occurred_at, before)
    if old:
        committed(engine, partial(_remove, request_ids=sorted(set(old))))
    if times:
        committed(engine, lambda transaction: _remove_outcomes(transaction, max(times)))
    committed(engine, partial(prune_losses, before=before))
    return int(bool(old or times))


def forget_served(transaction: Connection, user_id: str, until: int) -> None:
    """Removes what a reader was served up to a time in microseconds."""
    before = served_requests.c.served_at <= until
    own = select(served_requests.c.request_id).where(served_requests.c.user_id == user_id, before)
    _remove(transaction, sorted(set(transaction.scalars(own))))
    by_unit = update(served_requests).where(served_requests.c.unit_id == user_id, before)
    transaction.execute(by_unit.values(unit_id=None))


def _remove(transaction: Connection, request_ids: Sequence[str]) -> None:
    for chunk in chunks(request_ids):
        for table in (served_items, served_requests):
            transaction.execute(delete(table).where(table.c.request_id.in_(chunk)))


def _oldest(connection: Connection, wanted: Column[Any], time: Column[Any], before: int) -> list[Any]:
    """Values of some of the oldest rows before a time."""
    return list(connection.scalars(select(wanted).where(time < before).order_by(time).limit(_PRUNED_AT_ONCE)))


def _remove_outcomes(transaction: Connection, until: int) -> None:
    transaction.execute(delete(outcomes).where(outcomes.c.occurred_at <= until))


def _goes_on(event: Served) -> bool:
    """Whether it is a later page of a feed."""
    return event.start > 0


def _request_row(event: Served) -> tuple[object, ...]:
    """The values of the columns of `served_requests`, in their order."""
    return (
        event.request_id,
        event.section,
        event.user_id,
        to_micros(event.served_at),
        event.page,
        event.provider,
        event.config_version,
        event.space,
        _json(event.reader),
        event.experiment,
        event.arm,
        event.propensity,
        event.unit_id,
        event.state,
        event.took_ms,
    )


def _item_rows(event: Served) -> list[tuple[object, ...]]:
    """The values of the columns of `served_items`, in their order."""
    request_id, section = event.request_id, event.section
    return [
        (request_id, section, item.position, item.item_id, item.source, item.score, _json(item.inputs))
        for item in event.items
    ]


def _json(inputs: dict[str, Any]) -> str:
    return orjson.dumps(inputs).decode()
