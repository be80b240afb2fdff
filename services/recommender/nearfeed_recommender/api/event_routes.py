"""POST /v1/events: what readers did."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from nearfeed_contracts.events import Interaction
from nearfeed_contracts.fields import MAX_EVENTS_PER_CALL, IsoTime, to_micros
from nearfeed_contracts.topics import record_of
from nearfeed_recommender.api.access import Context, require
from nearfeed_recommender.api.clock import require_not_ahead
from nearfeed_recommender.api.problems import FieldError, FieldFault
from nearfeed_recommender.catalogue import known_items
from nearfeed_recommender.context import ApiContext
from nearfeed_runtime.sql import reading

router = APIRouter(prefix="/v1", tags=["events"], dependencies=[Depends(require("events"))])


class EventIn(Interaction):
    """One action of a reader on a post; without `occurred_at` it happened now."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    occurred_at: IsoTime = Field(default_factory=lambda: datetime.now(UTC))
    value: float | None = Field(
        default=None, ge=0, le=5, allow_inf_nan=False, strict=True, validate_default=True
    )


class EventsIn(BaseModel):
    """Up to 500 actions."""

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


@router.post("/events", summary="Tell what readers did", status_code=HTTPStatus.ACCEPTED)
def post_events(context: Context, body: Annotated[OneOrMany, Body()]) -> AcceptedOut:
    """Takes one event or `{"events": [...]}`: all or none. They change the feed within a second.

    The events are durably on the log before the answer. The same event told twice counts once.
    """
    many = isinstance(body, EventsIn)
    events: list[EventIn] = body.events if isinstance(body, EventsIn) else [body]
    for index, event in enumerate(events):
        field = f"events.{index}.occurred_at" if many else "occurred_at"
        require_not_ahead(context, field, to_micros(event.occurred_at))
    _require_known(context, events, many)
    context.log.append([record_of(event) for event in events])
    return AcceptedOut(accepted=len(events))


def _require_known(context: ApiContext, events: list[EventIn], many: bool) -> None:
    with reading(context.engine) as connection:
        known = known_items(connection, [event.item_id for event in events])
    faults = [
        FieldFault(
            field=f"events.{index}.item_id" if many else "item_id",
            message=f"There is no item {event.item_id!r}.",
        )
        for index, event in enumerate(events)
        if event.item_id not in known
    ]
    if faults:
        raise FieldError(HTTPStatus.NOT_FOUND, faults)
