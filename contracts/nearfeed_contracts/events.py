"""The events on the log: JSON of pydantic models, read by their `type` field.

Unknown fields are ignored, so that producers may go first. Vectors travel as base64 of
little-endian float32.
"""

import base64
import binascii
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import MAX_TAGS, Body, Id, Language, Tag, Title, Url, UtcTime, Version

Kind = Literal[
    "click", "read", "like", "unlike", "comment", "share", "save", "unsave", "hide", "report", "rating"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
Control = Literal["block", "mute", "follow", "less", "hide"]
ServedState = Literal["whole", "degraded", "failed"]
HOLDOUT = "holdout"  # the arm of users who are kept out of experiments
Attribution = Literal["explicit", "view_through", "unattributed", "not_in_response", "invalid_request_id"]

VectorArray = NDArray[np.float32]


class UnreadableEventError(NearfeedError):
    """A message that is no event; its text names the field and the fault."""


def _decode_vector(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        raw = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"is no base64: {error}") from None
    if not raw or len(raw) % 4:
        raise ValueError(f"holds {len(raw)} bytes, which is no whole number of float32")
    return np.frombuffer(raw, dtype="<f4")


def _check_vector(value: Any) -> VectorArray:
    try:
        vector = np.asarray(_decode_vector(value), dtype=np.float32)
    except TypeError:
        raise ValueError("must be base64 of float32, or a list of numbers") from None
    if vector.ndim != 1 or not vector.size:
        raise ValueError("must be a flat, non-empty vector")
    if not np.isfinite(vector).all():
        raise ValueError("holds NaN or infinity")
    return vector


def _encode_vector(vector: VectorArray) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


Vector = Annotated[
    Any, BeforeValidator(_check_vector), PlainSerializer(_encode_vector, return_type=str, when_used="json")
]


class Event(BaseModel):
    """What all events share. `event_id` names one event for tracing; effects never depend on it."""

    model_config = ConfigDict(extra="ignore", frozen=True, arbitrary_types_allowed=True)

    schema_version: int = 1
    event_id: Id = Field(default_factory=lambda: uuid.uuid4().hex)


class Item(Event):
    """A post as it is now. A lower `version` never overwrites a higher one."""

    type: Literal["item"] = "item"
    item_id: Id
    version: Version
    community_id: Id
    author_id: Id
    title: Title
    body: Body = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS)] = ()
    language: Language | None = None
    url: Url | None = None
    published_at: UtcTime


class ItemDeleted(Event):
    """The takedown of a post; `version` orders it among the post's edits.

    Without a version (a null value on the log) it takes down whatever is there.
    """

    type: Literal["item_deleted"] = "item_deleted"
    item_id: Id
    version: Version | None = None


class ItemVector(Event):
    """A post's vector in one space, with what the vector database filters by.

    `vector` is what a search finds; `context` is what a reading adds to its reader (None: the same).
    """

    type: Literal["item_vector"] = "item_vector"
    space: Id
    item_id: Id
    version: Version
    community_id: Id
    author_id: Id
    published_at: UtcTime
    vector: Vector
    context: Vector | None = None
    inferred: bool = False


def value_belongs_to_rating(value: float | None, info: ValidationInfo) -> float | None:
    """A validator of `value`, for a model in which `kind` stands before it."""
    if "kind" in info.data and (info.data["kind"] == "rating") != (value is not None):
        raise ValueError("is required for kind rating, and belongs to no other kind")
    return value


class Interaction(Event):
    """One action of a reader on a post. `value` belongs to `rating` alone (0 to 5)."""

    type: Literal["interaction"] = "interaction"
    user_id: Id
    item_id: Id
    kind: Kind
    occurred_at: UtcTime = Field(default_factory=lambda: datetime.now(UTC))
    value: float | None = Field(default=None, ge=0, le=5, allow_inf_nan=False, validate_default=True)
    request_id: Id | None = None

    _value = field_validator("value")(value_belongs_to_rating)


class Impression(Event):
    """A post of an answer was seen on the reader's screen. It makes no reading: the ledger keeps it."""

    type: Literal["impression"] = "impression"
    user_id: Id
    item_id: Id
    request_id: Id
    occurred_at: UtcTime = Field(default_factory=lambda: datetime.now(UTC))


class ReaderReset(Event):
    """A reader's wish to begin anew: what they did up to `reset_at` counts no more.

    With `controls`, those that they had set are lifted, and posts that they turned down may come again.
    """

    type: Literal["reader_reset"] = "reader_reset"
    user_id: Id
    reset_at: UtcTime
    controls: bool = False


class UserErased(Event):
    """A reader's wish to be forgotten: all events of theirs up to `erased_at` are void."""

    type: Literal["user_erased"] = "user_erased"
    user_id: Id
    erased_at: UtcTime


class MembershipChanged(Event):
    """A reader joined or left a community."""

    type: Literal["membership_changed"] = "membership_changed"
    user_id: Id
    community_id: Id
    joined: bool
    changed_at: UtcTime


class ReaderControlChanged(Event):
    """A reader set or lifted a control on an author, a post or a tag."""

    type: Literal["reader_control_changed"] = "reader_control_changed"
    user_id: Id
    control: Control
    target: Id | Tag
    active: bool
    changed_at: UtcTime


class ServedItem(BaseModel):
    """A post in an answer: where it stood, what it came from, and what a ranker knew of it then.

    `position` counts from 0 in the section's ranking: what was passed over leaves a gap, and a page that is
    asked for again has each post where it was. `inputs` is the JSON form of
    `nearfeed_core.ranking_inputs.PostInputs`.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    item_id: Id
    position: Annotated[int, Field(ge=0)]
    source: Id
    score: Annotated[float, Field(allow_inf_nan=False)]
    inputs: dict[str, Any] = {}


class Served(Event):
    """One section of an answer, as it went out. `page` is None for the feed by itself.

    `reader` is the JSON form of `nearfeed_core.ranking_inputs.ReaderInputs`. Where an experiment chose the
    provider, `arm` is its arm and `propensity` the chance with which this arm was to be taken; `unit_id` is
    what it is assigned by, and `readings_drawn_by` in `reader` the readings that the draw knew of.
    `state` tells whether the section was whole, did without a source, or failed. A page of a feed begins at
    the position `start` of its ranking.
    """

    type: Literal["served"] = "served"
    request_id: Id
    user_id: Id
    served_at: UtcTime
    page: Id | None = None
    section: Id
    provider: Id
    config_version: Annotated[int, Field(ge=0)]
    space: Id | None = None
    reader: dict[str, Any] = {}
    experiment: Id | None = None
    arm: Id | None = None
    propensity: Annotated[float, Field(gt=0, le=1)] | None = None
    unit_id: Id | None = None
    state: ServedState = "whole"
    took_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    start: Annotated[int, Field(ge=0)] = 0
    items: tuple[ServedItem, ...]


AnyEvent = Annotated[
    Item
    | ItemDeleted
    | ItemVector
    | Interaction
    | Impression
    | ReaderReset
    | UserErased
    | MembershipChanged
    | ReaderControlChanged
    | Served,
    Field(discriminator="type"),
]
_ANY_EVENT: TypeAdapter[Event] = TypeAdapter(AnyEvent)


def encode(event: Event) -> bytes:
    return event.model_dump_json(exclude_none=True).encode()


def decode(value: bytes) -> Event:
    """Raises UnreadableEventError with the field that is at fault."""
    try:
        return _ANY_EVENT.validate_json(value)
    except ValidationError as error:
        raise UnreadableEventError(describe_fault(error)) from None


def describe_fault(error: ValidationError, whole: str = "event") -> str:
    """The first fault of a pydantic error as `field: what is wrong`; `whole` stands for the field of all."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or whole
    message = first["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
