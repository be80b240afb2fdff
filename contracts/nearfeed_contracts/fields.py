"""Field types and limits that hold on every way in: HTTP, log and import."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints

MAX_ID = 128
MAX_LABEL = 64
MAX_TITLE = 300
MAX_BODY = 40_000
MAX_TAGS = 20
MAX_TAG = 64
MAX_URL = 2_000
MAX_EVENTS_PER_CALL = 500
MAX_LIMIT = 100
_VERSION_BITS = 20
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


_SPACE_OR_CONTROL = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


def _without_space(value: str) -> str:
    plain = value.isascii() and value.isprintable() and " " not in value
    if not plain and _SPACE_OR_CONTROL.search(value):
        raise ValueError("must not hold white space or control characters")
    return value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold the character NUL")
    return value


Id = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_ID, strict=True), AfterValidator(_without_space)
]
Label = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_LABEL, strict=True), AfterValidator(_without_space)
]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TAG), AfterValidator(_without_nul)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TITLE), AfterValidator(_without_nul)]
Body = Annotated[str, StringConstraints(max_length=MAX_BODY), AfterValidator(_without_nul)]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$", max_length=35)]
Url = Annotated[str, StringConstraints(max_length=MAX_URL), AfterValidator(_without_nul)]


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC. Raises ValueError where that is before the year 1 or after 9999."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999 in UTC") from None


def _iso_text(value: Any) -> Any:
    """Numbers, which pydantic takes as seconds or milliseconds by their size, are no times here."""
    if isinstance(value, datetime) or (isinstance(value, str) and _ISO_DATE.match(value)):
        return value
    raise ValueError("must be a time in ISO 8601 with a zone, such as 2026-01-31T12:00:00Z")


UtcTime = Annotated[AwareDatetime, AfterValidator(in_utc)]
IsoTime = Annotated[UtcTime, BeforeValidator(_iso_text)]
Version = Annotated[int, Field(ge=1, le=2**62)]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC, exact; the form in which tables keep a time."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(micros: int) -> datetime:
    """The inverse of `to_micros`."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=rest)


def version_at(micros: int, number: int = 0) -> int:
    """A post's version by the clock: its milliseconds since 1970, then `number`, below 2^20, within one.

    Whatever writes posts without versions of its own numbers them so, and the later statement wins.
    """
    return (max(micros // 1_000, 1) << _VERSION_BITS) | (number % (1 << _VERSION_BITS))


def now_micros() -> int:
    return to_micros(datetime.now(UTC))
