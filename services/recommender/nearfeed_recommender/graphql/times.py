"""Times of a search: a year, a month, a day (in UTC) or a moment, each with where it begins and ends."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement

from nearfeed_contracts.fields import in_utc, to_micros
from nearfeed_contracts.tables import items

_DATE = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?")


class Bounds(NamedTuple):
    """Microseconds since 1970: `start` is the first of it, `end` the first behind it."""

    start: int
    end: int

    def from_(self, *, inclusive: bool) -> ColumnElement[bool]:
        """Posts published then or later; without `inclusive`, later."""
        return items.c.published_at >= (self.start if inclusive else self.end)

    def up_to(self, *, inclusive: bool) -> ColumnElement[bool]:
        """Posts published then or earlier; without `inclusive`, earlier."""
        return items.c.published_at < (self.end if inclusive else self.start)


def span_of(text: str) -> Bounds | None:
    """What `2026`, `2026-01`, `2026-01-31` or `2026-01-31T12:00:00Z` spans; None for what is no time."""
    try:
        if date := _DATE.fullmatch(text):
            return _span_of_date(*(int(part) if part else None for part in date.groups()))
        moment = datetime.fromisoformat(text)
        start = to_micros(in_utc(moment)) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
    return None if start is None else Bounds(start, start + 1)


def _span_of_date(year: int | None, month: int | None, day: int | None) -> Bounds:
    start = datetime(year or 1, month or 1, day or 1, tzinfo=UTC)
    if day:
        end = start + timedelta(days=1)
    elif month:
        end = (start + timedelta(days=31)).replace(day=1)
    else:
        end = start.replace(year=start.year + 1)
    return Bounds(to_micros(start), to_micros(end))
