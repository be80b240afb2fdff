"""POST /v1/events: what readers saw and did."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator

from nearfeed_contracts.events import Event, Impression, Interaction, Kind, value_belongs_to_rating
from nearfeed_contracts.fields import MAX_EVENTS_PER_CALL, Id, IsoTime, to_micros
from nearfeed_contracts.topics import record_of
from nearfeed_recommender.http.access import Appending, Context, Writes, require
from nearfeed_recommender.http.context import ApiContext
from nearfeed_recommender.http.direct_route import DirectRoute
from nearfeed_recommender.http.feed import json_response
from nearfeed_recommender.http.parameters import refuse_unknown_parameters, require_not_ahead
from nearfeed_recommender.http.problems import FieldError, FieldFault

_IMPRESSION = ("schema_version", "event_id", "user_id", "item_id", "occurred_at", "request_id")
_INTERACTION = (*_IMPRESSION, "kind", "value")
router = APIRouter(
    prefix="/v1",
    tags=["events"],
    route_class=DirectRoute,
    dependencies=[Depends(require("events")), Depends(refuse_unknown_parameters)],
)


class EventIn(Event):
    """One action of a reader on a post, or (`impression`) that they saw it in an answer.

    `request_id` is that of the answer in which the post stood; an impression needs it. Without `occurred_at`
    it happened now, and so it does where `occurred_at` lies ahead by no more than clocks may differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: Id
    item_id: Id
    kind: Literal[Kind, "impression"]
    occurred_at: IsoTime = Field(default_factory=lambda: datetime.now(UTC))
    value: float | None = Field(
        default=None, ge=0, le=5, allow_inf_nan=False, strict=True, validate_default=True
    )
    request_id: Id | None = Field(default=None, validate_default=True)

    _value = field_validator("value")(value_belongs_to_rating)

    @field_validator("request_id")
    @classmethod
    def _impression_is_of_an_answer(cls, request_id: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("kind") == "impression" and request_id is None:
            raise ValueError("is required for kind impression: the request_id of the answer")
        return request_id

    def to_event(self, now: datetime) -> Interaction | Impression:
        """The event as it goes on the log: of a clock that is a little fast it has happened `now`.

        An erasure or a reset makes void what was until then, so nothing may be dated after it came.
        """
        form, names = (Impression, _IMPRESSION) if self.kind == "impression" else (Interaction, _INTERACTION)
        fields = {name: getattr(self, name) for name in names}
        return form.model_construct(**fields | {"occurred_at": min(self.occurred_at, now)})


class EventsIn(BaseModel):
    """Up to 500 actions and impressions."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[EventIn], Field(min_length=1, max_length=MAX_EVENTS_PER_CALL)]


class AcceptedOut(BaseModel):
    """How many events are on the log now."""

    accepted: int


def _shape(body: Any) -> str:
    return "many" if isinstance(body, EventsIn) or (isinstance(body, dict) and "events" in body) else "one"


OneOrMany = Annotated[
    Annotated[EventIn, Tag("one")] | Annotated[EventsIn, Tag("many")], Discriminator(_shape)
]


@router.post(
    "/events",
    summary="Send events",
    status_code=HTTPStatus.ACCEPTED,
    response_model=AcceptedOut,
)
async def post_events(
    request: Request,
    context: Context,
    writes: Writes,
    appends: Appending,
    body: Annotated[OneOrMany, Body()],
) -> Response:
    """Takes one event or `{"events": [...]}`: all or none. Actions are in the user's next feed.

    The events are durably on the log before the response. The same event sent twice counts once. An
    impression is recorded with the response that it names, as is an action with a `request_id`. An action
    without one is attributed to the newest impression of the post in the day before it. Other processes have
    the events when their consumer has read them, within a second.
    """
    many = isinstance(body, EventsIn)
    events: list[EventIn] = body.events if isinstance(body, EventsIn) else [body]
    for index, event in enumerate(events):
        field = f"events.{index}.occurred_at" if many else "occurred_at"
        require_not_ahead(context, field, to_micros(event.occurred_at))
    columns = context.answers.catalog.columns
    if not all(columns.has_live(event.item_id) for event in events):
        await writes.run(request, lambda _: _require_known(context, events, many))
    now = datetime.now(UTC)
    accepted = [event.to_event(now) for event in events]
    await writes.append(appends, [record_of(event) for event in accepted])
    context.answers.states.accept(event for event in accepted if isinstance(event, Interaction))
    return json_response(orjson.dumps({"accepted": len(events)}), HTTPStatus.ACCEPTED)


def _require_known(context: ApiContext, events: list[EventIn], many: bool) -> None:
    """Raises FieldError with the posts that are unknown, after a look for new ones in SQL."""
    columns = context.answers.catalog.columns
    context.answers.catalog.follow()
    faults = [
        FieldFault(
            field=f"events.{index}.item_id" if many else "item_id",
            message=f"There is no item {event.item_id!r}.",
        )
        for index, event in enumerate(events)
        if not columns.has_live(event.item_id)
    ]
    if faults:
        raise FieldError(HTTPStatus.NOT_FOUND, faults)
