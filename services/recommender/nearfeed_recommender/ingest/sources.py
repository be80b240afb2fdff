"""Where the value of one field comes from, as a YAML map says it.

`title: headline` takes the column or JSON path `headline`; the longer form says more:

    kind: {from: action_type, values: {1: read, 2: like}}
    occurred_at: {from: created_at, zone: Europe/Berlin}
    language: {constant: en}
"""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

UNKNOWN = "unknown_name"


class Strict(BaseModel):
    """Refuses names that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _only_known_names(cls, given: Any) -> Any:
        if isinstance(given, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for name in given:
                if name not in known:
                    context = {"name": str(name), "known": ", ".join(known)}
                    raise PydanticCustomError(UNKNOWN, "is unknown; here may stand {known}", context)
        return given


Lookup = Callable[[str], Any]
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Source(Strict):
    """A column, a JSON path or a constant. Numbers, UUIDs and bytes of UTF-8 become text."""

    from_: str | None = Field(default=None, alias="from", min_length=1)
    constant: Any = None
    values: dict[str, Any] | None = Field(default=None, min_length=1)
    default: Any = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"from": given}
        if isinstance(given, dict | Source):
            return given
        raise ValueError("must name a column or path, or be written as {from: ...} or {constant: ...}")

    @field_validator("values", mode="before")
    @classmethod
    def _keys_as_text(cls, given: Any) -> Any:
        return {str(key): value for key, value in given.items()} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _one_origin(self) -> "Source":
        if (self.from_ is None) == (self.constant is None):
            raise ValueError("needs either from or constant")
        if self.constant is not None and (self.values is not None or self.default is not None):
            raise ValueError("a constant has neither values nor a default")
        return self

    @property
    def stated(self) -> list[Any]:
        """The values that the map itself states."""
        stated = [self.constant, self.default, *(self.values or {}).values()]
        return [value for value in stated if value is not None]

    def value_of(self, lookup: Lookup) -> Any:
        """The field's value, None where there is none. Raises ValueError for one that cannot be used."""
        if self.from_ is None:
            return self.constant
        raw = lookup(self.from_)
        if raw is None or raw == "":
            return self.default
        if self.values is None:
            return self.converted(raw)
        found = self.values.get(str(text_of(raw)), self.default)
        if found is None:
            raise ValueError(f"{raw!r} of {self.from_} is not among the values of the map")
        return found

    def converted(self, raw: Any) -> Any:
        """What a value of the app is to Nearfeed."""
        return text_of(raw)


class NumberSource(Source):
    """A number."""

    def converted(self, raw: Any) -> Any:
        return float(raw) if isinstance(raw, Decimal) else raw


class FlagSource(Source):
    """Yes or no."""

    def converted(self, raw: Any) -> Any:
        return raw


class TimeSource(Source):
    """A time: ISO 8601, a date with time of the database, or a number of s, ms or us since 1970.

    `zone` is that of times which name none.
    """

    time: Literal["s", "ms", "us"] | None = None
    zone: str | None = None

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ValueError, KeyError, OSError):
                raise ValueError(
                    f"{name!r} is no time zone; write one such as UTC or Europe/Berlin"
                ) from None
        return name

    def converted(self, raw: Any) -> datetime:
        moment = self._moment(raw)
        if moment.tzinfo is None:
            if self.zone is None:
                raise ValueError(f"{raw} names no time zone; say in the map which it is, as in zone: UTC")
            moment = moment.replace(tzinfo=ZoneInfo(self.zone))
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise ValueError(f"{raw} lies outside the years 1 to 9999") from None

    def _moment(self, raw: Any) -> datetime:
        if isinstance(raw, datetime):
            return raw
        if isinstance(raw, date):
            return datetime.combine(raw, time())
        number = _number_of(raw)
        if number is None:
            try:
                return datetime.fromisoformat(str(raw))
            except ValueError:
                raise ValueError(f"{raw!r} is no time") from None
        return _since_1970(number, self.time or "s")


class TagsSource(Source):
    """Tags: a list, JSON of a list, or text with a separator (|) between them."""

    separator: str = Field(default="|", min_length=1)
    json_: bool = Field(default=False, alias="json")

    def converted(self, raw: Any) -> Any:
        if isinstance(raw, str | bytes) and self.json_:
            try:
                raw = orjson.loads(raw)
            except orjson.JSONDecodeError:
                raise ValueError(f"{raw!r} is no JSON") from None
        if isinstance(raw, str):
            return [tag for part in raw.split(self.separator) if (tag := part.strip())]
        if not isinstance(raw, list | tuple):
            raise ValueError(f"{raw!r} is no list")
        return [text_of(tag) for tag in raw]


def text_of(raw: Any) -> Any:
    """Ids and texts as text; what cannot be text is left as it is."""
    if isinstance(raw, bytes | bytearray | memoryview):
        try:
            return bytes(raw).decode()
        except UnicodeDecodeError:
            raise ValueError("is binary; make it text in the query, as with HEX(...)") from None
    if isinstance(raw, bool) or not isinstance(raw, int | Decimal | UUID):
        return raw
    return str(raw)


def _number_of(raw: Any) -> Decimal | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal | str):
        return None
    if isinstance(raw, str) and not raw.removeprefix("-").replace(".", "", 1).isdecimal():
        return None
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ValueError(f"{raw} is no time")
    try:
        return Decimal(str(raw))
    except ArithmeticError:
        raise ValueError(f"{raw!r} is no time") from None


def _since_1970(number: Decimal, unit: str) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=int(number * (1_000_000 // _PER_SECOND[unit])))
    except (OverflowError, ArithmeticError, ValueError):
        raise ValueError(f"{number} is no time in {unit} since 1970") from None
