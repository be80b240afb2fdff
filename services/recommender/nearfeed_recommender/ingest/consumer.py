"""The consumer of an app's own topics: their messages become Nearfeed's events and rows.

Posts and interactions go on to Nearfeed's own topics, keyed by post and by reader, before the position
is stored: the same message told twice is the same event. Memberships and controls are rows in SQL, and
are committed with the position.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine

from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.events import (
    Event,
    Interaction,
    Item,
    ItemDeleted,
    MembershipChanged,
    ReaderControlChanged,
)
from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.topics import record_of
from nearfeed_recommender.catalog.writes import put_communities
from nearfeed_recommender.identity.erasures import erased_since
from nearfeed_recommender.ingest.map_file import MapError
from nearfeed_recommender.ingest.topic_map import TopicMap, events_of, read_topic_map
from nearfeed_recommender.users.erasure import ON_AUTHORS
from nearfeed_recommender.users.memberships import leave_community, put_memberships, set_control
from nearfeed_runtime.consume import Consumer, Handlers

GROUP = "app-topics"
C = TypeVar("C", MembershipChanged, ReaderControlChanged)


def open_consumer(file: Path, engine: Engine, log: EventLog, secret: bytes) -> Consumer:
    """Raises MapError for a map that is wrong or names a topic that the log does not have."""
    rules = read_topic_map(file)
    _check_topics(file, rules, log)
    read = partial(events_of, list(rules.rules()))
    return Consumer(engine, log, GROUP, rules.topics, handlers(log, secret), read=read)


def handlers(log: EventLog, secret: bytes) -> Handlers:
    """The flow from an app's event to what it changes."""
    pass_on = partial(append_events, log)
    return {
        Item: [pass_on],
        ItemDeleted: [pass_on],
        Interaction: [pass_on],
        MembershipChanged: [partial(change_memberships, secret)],
        ReaderControlChanged: [partial(change_controls, secret)],
    }


def append_events(log: EventLog, _transaction: Connection, events: Sequence[Event]) -> None:
    """Puts events on Nearfeed's own topics."""
    log.append([record_of(event) for event in events])


def change_memberships(secret: bytes, transaction: Connection, events: Sequence[Event]) -> None:
    """Lets readers join and leave, in order; communities are made as they are met."""
    changes = _not_erased(transaction, secret, events, MembershipChanged)
    last = {(change.user_id, change.community_id): change for change in changes}
    joins = [change for change in last.values() if change.joined]
    put_communities(transaction, {change.community_id for change in joins})
    put_memberships(transaction, [(c.user_id, c.community_id, to_micros(c.changed_at)) for c in joins])
    for change in last.values():
        if not change.joined:
            leave_community(transaction, change.user_id, change.community_id)


def change_controls(secret: bytes, transaction: Connection, events: Sequence[Event]) -> None:
    """Sets and lifts controls, in order; none on an author who was erased since."""
    changes = _not_erased(transaction, secret, events, ReaderControlChanged)
    gone = erased_since(transaction, secret, [(c.target, to_micros(c.changed_at)) for c in changes])
    for change, void in zip(changes, gone, strict=True):
        if void and change.control in ON_AUTHORS:
            continue
        set_control(
            transaction,
            change.user_id,
            change.control,
            change.target,
            change.active,
            to_micros(change.changed_at),
        )


def _not_erased(transaction: Connection, secret: bytes, events: Iterable[Event], form: type[C]) -> list[C]:
    """What an erasure has not made void."""
    changes = [event for event in events if isinstance(event, form)]
    voided = erased_since(transaction, secret, [(c.user_id, to_micros(c.changed_at)) for c in changes])
    return [change for change, void in zip(changes, voided, strict=True) if not void]


def _check_topics(file: Path, rules: TopicMap, log: EventLog) -> None:
    for path, rule in rules.rules():
        if not log.end_offsets(rule.topic):
            raise MapError(
                file, f"{path}.topic", f"the log has no topic {rule.topic}; make it, or correct the name"
            )
