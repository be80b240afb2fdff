"""Rows of the files that can be imported, checked field by field.

Ids may be integers, which become their digits. Times are ISO 8601 with a zone, or a number of
seconds since 1970. Tags are a list, or one text with `|` between them.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from nearfeed_contracts.events import Interaction
from nearfeed_contracts.fields import MAX_TAGS, Id, Tag, in_utc
from nearfeed_recommender.catalog.writes import ItemDraft

MOST_AHEAD = timedelta(minutes=5)


def id_of(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _time_of(value: Any) -> Any:
    if isinstance(value, str):
        value = _number_of(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        if not math.isfinite(value):
            raise ValueError
        return datetime.fromtimestamp(value, tz=UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{value} is no time in seconds since 1970") from None


def _number_of(text: str) -> str | float:
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text


def _not_ahead(moment: datetime) -> datetime:
    utc = in_utc(moment)
    if utc > datetime.now(UTC) + MOST_AHEAD:
        raise ValueError(f"{moment.isoformat()} is more than five minutes ahead")
    return utc


def _tags_of(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(tag for part in value.split("|") if (tag := part.strip()))
    return value


RowId = Annotated[Id, BeforeValidator(id_of)]
RowTime = Annotated[AwareDatetime, BeforeValidator(_time_of), AfterValidator(_not_ahead)]
RowTags = Annotated[tuple[Tag, ...], BeforeValidator(_tags_of), Field(max_length=MAX_TAGS)]


class ItemRow(ItemDraft):
    """`item_id, community_id, author_id, title, body?, tags?, language?, url?, published_at`."""

    model_config = ConfigDict(extra="ignore")

    item_id: RowId
    community_id: RowId
    author_id: RowId
    tags: RowTags = ()
    published_at: RowTime


class DeletionRow(BaseModel):
    """`item_id`; a second deletion is no fault, one of a post that there never was is."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    item_id: RowId


class InteractionRow(Interaction):
    """`user_id, item_id, kind, occurred_at, value?`; value belongs to kind rating alone."""

    user_id: RowId
    item_id: RowId
    occurred_at: RowTime


class MembershipRow(BaseModel):
    """`user_id, community_id, joined_at?`; without a time the reader has joined now."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    user_id: RowId
    community_id: RowId
    joined_at: RowTime = Field(default_factory=lambda: datetime.now(UTC))


def filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a row states: an empty cell or a null is a field that is missing."""
    return {name: value for name, value in values.items() if value is not None and value != ""}
