"""What was served over time, by day and in sessions: how long it took, what failed, how deep readers went."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Select, case, distinct, func, or_, select
from sqlalchemy.sql.expression import ColumnElement

from nearfeed_core.readings import DAY_MICROS, HOUR_MICROS
from nearfeed_recommender.experiments.measures import EARLIER
from nearfeed_recommender.experiments.sums import Window, answers_of, events_of_responses

PERCENTILES = (50, 95)
SESSION_GAP_MICROS = HOUR_MICROS // 2  # a reader who asks for nothing as long has left
_COUNTS = ("readers", "requests", *EARLIER, "degraded", "failed")
Key = tuple[Any, ...]


def percentiles(connection: Connection, window: Window) -> dict[str, dict[int, float]]:
    """By arm: percentiles 50 and 95 of the milliseconds that answers took."""
    found = _percentiles(connection, _timed(window), "arm")
    return {arm: times for (arm,), times in found.items()}


def sessions(days: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """By arm, of all its days: how often readers came, each time for one answer or several."""
    found: Counter[str] = Counter()
    for day in days:
        found[day["arm"]] += day["sessions"]
    return dict(found)


def daily(connection: Connection, window: Window) -> list[dict[str, Any]]:
    """By day (UTC, microseconds of its start) and arm: readers, requests, and what came of these requests.

    `depth` is the mean of the deepest positions, from 1, and `sessions` those that began on the day.
    """
    deeds = events_of_responses(answers_of(window).cte("answers")).cte("deeds")
    day = _day(deeds.c.served_at)
    query = (
        select(
            day,
            deeds.c.arm,
            func.count(distinct(deeds.c.unit)).label("readers"),
            func.count().label("requests"),
            *(func.sum(deeds.c[name]).label(name) for name in (*EARLIER, "depth")),
            *(func.sum(case((deeds.c.state == state, 1), else_=0)).label(state) for state in _COUNTS[-2:]),
        )
        .group_by(day, deeds.c.arm)
        .order_by(day, deeds.c.arm)
    )
    rows = connection.execute(query).mappings().all()
    times = _percentiles(connection, _timed(window), "day", "arm")
    begun = _sessions(connection, window)
    return [
        {"at": int(row["day"]) * DAY_MICROS, "arm": row["arm"]}
        | {name: int(row[name]) for name in _COUNTS}
        | {"depth": float(row["depth"]) / int(row["requests"])}
        | {f"took_p{each}_ms": times.get((row["day"], row["arm"]), {}).get(each) for each in PERCENTILES}
        | {"sessions": begun.get((row["day"], row["arm"]), 0)}
        for row in rows
    ]


def _timed(window: Window) -> Select[Any]:
    answers = answers_of(window).subquery("answers")
    query = select(_day(answers.c.served_at), answers.c.arm, answers.c.took_ms)
    return query.where(answers.c.took_ms.is_not(None))


def _percentiles(connection: Connection, timed: Select[Any], *keys: str) -> dict[Key, dict[int, float]]:
    """By these columns: the least time that so many per cent of the answers did not exceed."""
    times = timed.subquery("timed")
    own = [times.c[key] for key in keys]
    place = func.row_number().over(partition_by=own, order_by=times.c.took_ms).label("place")
    size = func.count().over(partition_by=own).label("size")
    ranked = select(*own, times.c.took_ms, place, size).subquery("ranked")
    found: dict[Key, dict[int, float]] = {}
    for percent in PERCENTILES:
        at = ranked.c.place == (ranked.c.size * percent + 99) // 100
        for row in connection.execute(select(*(ranked.c[key] for key in keys), ranked.c.took_ms).where(at)):
            found.setdefault(tuple(row)[:-1], {})[percent] = float(row.took_ms)
    return found


def _sessions(connection: Connection, window: Window) -> dict[Key, int]:
    """By day and arm: the answers that began one, before which their reader had none for half an hour."""
    answers = answers_of(window).subquery("answers")
    last = func.lag(answers.c.served_at).over(
        partition_by=(answers.c.arm, answers.c.unit), order_by=answers.c.served_at
    )
    each = select(
        _day(answers.c.served_at), answers.c.arm, answers.c.served_at, last.label("last")
    ).subquery()
    begins = or_(each.c.last.is_(None), each.c.served_at - each.c.last >= SESSION_GAP_MICROS)
    query = select(each.c.day, each.c.arm, func.count()).where(begins).group_by(each.c.day, each.c.arm)
    return {(day, arm): count for day, arm, count in connection.execute(query)}


def _day(served_at: ColumnElement[Any]) -> ColumnElement[Any]:
    return (served_at // DAY_MICROS).label("day")
