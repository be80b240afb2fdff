"""Keys that begin with a time, held to the present.

What lies behind a row of the year 2099 is never read, so such a key is not where the next import goes on.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from nearfeed_recommender.ingest.sources import TimeSource
from nearfeed_standalone.importing.keys import Key

_A_SECOND = timedelta(seconds=1)
_EARLIEST_ZONE = timedelta(hours=-12)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": _A_SECOND, "ms": timedelta(milliseconds=1), "us": timedelta(microseconds=1)}


def held_to(now: datetime, key: Key, said: TimeSource | None) -> Key:
    """The key, or where it begins with a time after `now` (aware), one just before that.

    `said` is what the map says of the key's first column, None where it says nothing. Numbers are times
    only where it does. A time without a zone that nobody names is held to the earliest that it may be
    now, so that no row is passed by; some are read twice for that.
    """
    first = key[0]
    if isinstance(first, datetime):
        latest, safe = _moments(now, said, first.tzinfo is not None)
        return (safe - _A_SECOND,) if first > latest else key
    if isinstance(first, date):
        latest, safe = _moments(now, said, False)
        return (safe.date() - timedelta(days=1),) if first > latest.date() else key
    if said is not None and isinstance(first, int | float | Decimal):
        unit = _UNITS[said.time or "s"]
        return ((now - _A_SECOND - _EPOCH) // unit,) if first > (now - _EPOCH) / unit else key
    return key


def _moments(now: datetime, said: TimeSource | None, aware: bool) -> tuple[Any, Any]:
    """The latest time that has come, and one that rows may be read again from, as the column tells them."""
    if aware:
        return now, now
    if said is not None and said.zone is not None:
        local = now.astimezone(ZoneInfo(said.zone)).replace(tzinfo=None)
        return local, local
    utc = now.astimezone(UTC).replace(tzinfo=None)
    return utc, utc + _EARLIEST_ZONE
