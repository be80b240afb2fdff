"""`NEARFEED_TOPIC_MAP`: which messages of an app's own topics are which events."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from prometheus_client import Counter
from pydantic import BeforeValidator, Field, ValidationError

from nearfeed_contracts.event_log import Message
from nearfeed_contracts.events import (
    Event,
    Interaction,
    Item,
    ItemDeleted,
    MembershipChanged,
    ReaderControlChanged,
    UnreadableEventError,
    describe_fault,
)
from nearfeed_contracts.fields import from_micros, to_micros, version_at
from nearfeed_contracts.topics import TOPICS
from nearfeed_recommender.ingest.fields import (
    ControlSource,
    DeletionFields,
    Fields,
    IdSource,
    InteractionFields,
    ItemFields,
    MembershipFields,
    MomentSource,
    TargetSource,
    YesOrNoSource,
)
from nearfeed_recommender.ingest.map_file import MapError, read_map
from nearfeed_recommender.ingest.sources import FlagSource, Lookup, Strict, TimeSource


def at_path(body: Any, path: str) -> Any:
    """What stands at a path; None where nothing does."""
    for step in path.split("."):
        if isinstance(body, dict):
            body = body.get(step)
        elif isinstance(body, list) and step.isdecimal() and int(step) < len(body):
            body = body[int(step)]
        else:
            return None
    return body


UNMAPPED = Counter("nearfeed_messages_unmapped_total", "Messages of an app that no rule is for.", ["topic"])
_AHEAD = timedelta(minutes=5)
_MESSAGE_TIME = TimeSource.model_validate({"from": "$time"})
_TRUE = FlagSource.model_validate({"constant": True})
Scalar = str | int | float | bool | None
Condition = dict[str, Scalar | list[Scalar]] | Literal["tombstone"]


class Rule(Fields):
    """Messages of one topic that are one kind of event; `when` narrows them.

    `when` gives JSON paths and the value, or the list of values, of which each must have one. The word
    `tombstone` means messages without a value.
    """

    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")
    when: Condition = Field(default_factory=dict)

    def fits(self, message: Message, body: Any) -> bool:
        if message.value is None or self.when == "tombstone":
            return message.value is None and self.when == "tombstone"
        return all(_is_among(at_path(body, path), wanted) for path, wanted in self.when.items())

    def event_of(self, values: Mapping[str, Any], message: Message) -> Event:
        """Raises ValidationError and ValueError."""
        raise NotImplementedError


class ItemRule(Rule, ItemFields):
    """A post as it is now; the newest message wins."""

    def event_of(self, values: Mapping[str, Any], message: Message) -> Event:
        return Item(**values, version=version_of(message))


class DeletionRule(Rule, DeletionFields):
    """The end of a post."""

    def event_of(self, values: Mapping[str, Any], message: Message) -> Event:
        return ItemDeleted(**values, version=version_of(message))


class InteractionRule(Rule, InteractionFields):
    """What a reader did with a post."""

    occurred_at: MomentSource = _MESSAGE_TIME

    def event_of(self, values: Mapping[str, Any], message: Message) -> Event:
        event = Interaction(**values)
        if to_micros(event.occurred_at) > message.timestamp + _AHEAD // timedelta(microseconds=1):
            raise ValueError(
                f"occurred_at: {event.occurred_at.isoformat()} lies after the message's own time"
            )
        return event


class MembershipRule(Rule, MembershipFields):
    """A reader joined (or, where `joined` is false, left) a community."""

    joined: YesOrNoSource = _TRUE
    changed_at: MomentSource = _MESSAGE_TIME

    def event_of(self, values: Mapping[str, Any], _message: Message) -> Event:
        return MembershipChanged(**values)


class ControlRule(Rule):
    """A reader set (or, where `active` is false, lifted) a control on an author, a post or a tag."""

    user_id: IdSource
    control: ControlSource
    target: TargetSource
    active: YesOrNoSource = _TRUE
    changed_at: MomentSource = _MESSAGE_TIME

    def event_of(self, values: Mapping[str, Any], _message: Message) -> Event:
        return ReaderControlChanged(**values)


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, dict) else given


class TopicMap(Strict):
    """Rules by the kind of event; a section holds one rule or a list of them."""

    items: Annotated[list[ItemRule], BeforeValidator(_as_list)] = Field(default_factory=list)
    deletions: Annotated[list[DeletionRule], BeforeValidator(_as_list)] = Field(default_factory=list)
    interactions: Annotated[list[InteractionRule], BeforeValidator(_as_list)] = Field(default_factory=list)
    memberships: Annotated[list[MembershipRule], BeforeValidator(_as_list)] = Field(default_factory=list)
    controls: Annotated[list[ControlRule], BeforeValidator(_as_list)] = Field(default_factory=list)

    def rules(self) -> Iterator[tuple[str, Rule]]:
        """Every rule with its path in the file."""
        for name, section in self:
            for number, rule in enumerate(section):
                yield (name if len(section) == 1 else f"{name}[{number}]"), rule

    @property
    def topics(self) -> list[str]:
        return sorted({rule.topic for _, rule in self.rules()})


def read_topic_map(file: Path) -> TopicMap:
    """Raises MapError."""
    found = read_map(file, TopicMap)
    for path, rule in found.rules():
        if rule.topic in TOPICS:
            raise MapError(
                file, f"{path}.topic", f"{rule.topic} is a topic of Nearfeed's own; name one of the app's"
            )
    if not found.topics:
        raise MapError(file, "", f"holds no rule; write one under {', '.join(TopicMap.model_fields)}")
    return found


def events_of(rules: Sequence[tuple[str, Rule]], message: Message) -> list[Event]:
    """The events that a message is by the rules of its topic; each rule that fits gives one.

    A message that no rule fits is counted. Raises UnreadableEventError that names rule and field.
    """
    body = _body_of(message)
    fitting = [
        (path, rule) for path, rule in rules if rule.topic == message.topic and rule.fits(message, body)
    ]
    if not fitting:
        UNMAPPED.labels(message.topic).inc()
    return [_event(path, rule, message, body) for path, rule in fitting]


def version_of(message: Message) -> int:
    """A post's version: the milliseconds of the message, and its offset among those of one millisecond."""
    return version_at(message.timestamp, message.offset)


def _event(path: str, rule: Rule, message: Message, body: Any) -> Event:
    try:
        values = rule.values_of(_lookup(message, body))
        return rule.event_of({"event_id": _event_id(path, message), **values}, message)
    except ValidationError as error:
        raise UnreadableEventError(f"{path}.{describe_fault(error)}") from None
    except (ValueError, ArithmeticError, TypeError) as error:
        raise UnreadableEventError(f"{path}.{error}") from None


def _lookup(message: Message, body: Any) -> Lookup:
    def look_up(path: str) -> Any:
        match path:
            case "$key":
                return message.key
            case "$time":
                return _time_of(message)
        return at_path(body, path)

    return look_up


def _time_of(message: Message) -> datetime:
    try:
        return from_micros(message.timestamp)
    except (OverflowError, OSError):
        raise ValueError(f"the message has no possible time ({message.timestamp})") from None


def _event_id(path: str, message: Message) -> str:
    """The same for every reading of the same message."""
    place = f"{message.topic}/{message.partition}/{message.offset}/{path}"
    return hashlib.sha256(place.encode()).hexdigest()[:32]


def _body_of(message: Message) -> Any:
    if message.value is None:
        return None
    try:
        return orjson.loads(message.value)
    except orjson.JSONDecodeError as error:
        raise UnreadableEventError(f"the message is no JSON ({error.msg})") from None


def _is_among(found: Any, wanted: Scalar | list[Scalar]) -> bool:
    return str(found) in {str(each) for each in (wanted if isinstance(wanted, list) else [wanted])}
