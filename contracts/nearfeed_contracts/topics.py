"""The topics of the log, how they are keyed and how long they are kept."""

from dataclasses import dataclass
from datetime import timedelta

from nearfeed_contracts.event_log import Record
from nearfeed_contracts.events import (
    Event,
    Impression,
    Interaction,
    Item,
    ItemDeleted,
    ItemVector,
    MembershipChanged,
    ReaderControlChanged,
    ReaderReset,
    Served,
    UserErased,
    encode,
)


@dataclass(frozen=True)
class Topic:
    """`compacted` keeps the newest record of a key; else `retention` says how long records stay."""

    name: str
    compacted: bool = False
    retention: timedelta | None = None


READER_RETENTION = timedelta(days=30)

ITEMS = Topic("items", compacted=True)
ITEM_VECTORS = Topic("item-vectors", compacted=True)
INTERACTIONS = Topic("interactions", retention=READER_RETENTION)
MEMBERSHIPS = Topic("memberships", retention=READER_RETENTION)
READER_CONTROLS = Topic("reader-controls", retention=READER_RETENTION)
SERVED = Topic("served", retention=READER_RETENTION)

TOPICS = {
    topic.name: topic for topic in (ITEMS, ITEM_VECTORS, INTERACTIONS, MEMBERSHIPS, READER_CONTROLS, SERVED)
}


def record_of(event: Event) -> Record:
    """The record that carries an event: its topic, key and partition key."""
    match event:
        case Item() | ItemDeleted():
            return Record(ITEMS.name, event.item_id, encode(event))
        case ItemVector():
            key = f"{event.space}/{event.item_id}"
            return Record(ITEM_VECTORS.name, key, encode(event), partition_key=event.item_id)
        case Interaction() | UserErased() | ReaderReset():
            return Record(INTERACTIONS.name, event.user_id, encode(event))
        case MembershipChanged():
            return Record(MEMBERSHIPS.name, event.user_id, encode(event))
        case ReaderControlChanged():
            return Record(READER_CONTROLS.name, event.user_id, encode(event))
        case Served() | Impression():
            return Record(SERVED.name, event.user_id, encode(event))
        case _:
            raise TypeError(f"no topic carries {type(event).__name__}")
