"""Sums over readers of what was served and what came of it: no row per reader leaves the database.

A reader is a unit: what all ids that belong to them are assigned by now, so that answers to two ids of one
reader are never taken for those of two, also where they were told late to belong together. Only outcomes
count that came of a known answer, told by its request id or found within the window, each kind once per post
and answer.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, Connection, Select, and_, case, distinct, func, literal, null, select, union_all
from sqlalchemy.sql.expression import ColumnElement

from nearfeed_contracts.tables import outcomes, reader_units, served_items, served_requests
from nearfeed_core.readings import DAY_MICROS
from nearfeed_recommender.experiments.measures import COLUMNS, EARLIER, pairs
from nearfeed_recommender.experiments.schema import Place
from nearfeed_recommender.exposure_log.attribution import IMPRESSION

KINDS = {
    "impressions": (IMPRESSION,),
    "clicks": ("click",),
    "reads": ("read",),
    "likes": ("like",),
    "hides": ("hide", "report"),
}
COUNTING = ("explicit", "view_through")
_ALL = "all"
_KEY = ("request_id", "section")  # of an answer's section
_TOLD = ("arm", "unit", "served_at", "state", "took_ms")


@dataclass(frozen=True)
class Window:
    """Answers from `since` to before `until`, in microseconds since 1970, of an experiment or at a place.

    `days_before` the first are those of the readers' earlier actions.
    """

    since: int
    until: int
    experiment: str | None = None
    place: Place | None = None
    days_before: int = 0


def arm_sums(connection: Connection, window: Window) -> dict[str, dict[str, Any]]:
    """By arm: `units` (readers), the sum of each column and of the products that variances need.

    At a place without an experiment all is one arm, `all`.
    """
    units = _units(window).cte("units")
    wanted = [func.count().label("units")]
    wanted += [func.sum(1.0 * units.c[name]).label(name) for name in COLUMNS]
    wanted += [func.sum(1.0 * units.c[a] * units.c[b]).label(f"{a}*{b}") for a, b in pairs()]
    query = select(units.c.arm, *wanted).group_by(units.c.arm)
    return {row["arm"]: dict(row) for row in connection.execute(query).mappings()}


def mixed_readers(connection: Connection, window: Window) -> int:
    """How many readers were served more than one arm, as those whose ids were merged late.

    They count in each, with what came of its answers.
    """
    answers = answers_of(window).cte("answers")
    per_unit = select(answers.c.unit).group_by(answers.c.unit).having(func.count(distinct(answers.c.arm)) > 1)
    return connection.scalar(select(func.count()).select_from(per_unit.subquery())) or 0


def unit_of_answer() -> ColumnElement[str]:
    """The unit of a row of served_requests: as the reader's ids are merged now, or as they were then."""
    request, units = served_requests.c, reader_units.c
    merged = select(units.unit_id).where(units.user_id == request.user_id).scalar_subquery()
    return func.coalesce(merged, request.unit_id, request.user_id)


def first_answer(connection: Connection, place: Place, most: int) -> int | None:
    """When the first of the newest `most` answers at a place was served, in microseconds since 1970."""
    times = select(served_requests.c.served_at).where(_at(place)).order_by(served_requests.c.served_at.desc())
    found: int | None = connection.scalar(select(func.min(times.limit(most).subquery().c.served_at)))
    return found


def _units(window: Window) -> Select[Any]:
    """A row per arm and reader with all columns."""
    answers = answers_of(window).cte("answers")
    deeds = events_of_responses(answers).cte("deeds")
    before = _earlier(window, answers).cte("earlier")
    summed = {name: func.sum(deeds.c[name]) for name in (*EARLIER, "depth")}
    told = {
        "requests": func.count(),
        "took": func.coalesce(func.sum(deeds.c.took_ms), 0),
        "timed": func.count(deeds.c.took_ms),
        "degraded": func.sum(case((deeds.c.state == "degraded", 1), else_=0)),
        "failed": func.sum(case((deeds.c.state == "failed", 1), else_=0)),
    }
    earlier = {f"earlier_{name}": func.coalesce(func.max(before.c[name]), 0) for name in EARLIER}
    columns: dict[str, ColumnElement[Any]] = {**summed, **told, **earlier}
    return (
        select(deeds.c.arm, deeds.c.unit, *(columns[name].label(name) for name in COLUMNS))
        .select_from(deeds.outerjoin(before, before.c.unit == deeds.c.unit))
        .group_by(deeds.c.arm, deeds.c.unit)
    )


def answers_of(window: Window) -> Select[Any]:
    """The answers of a window: a section each."""
    request = served_requests.c
    query = select(
        request.request_id,
        request.section,
        request.user_id,
        unit_of_answer().label("unit"),
        (literal(_ALL) if window.experiment is None else request.arm).label("arm"),
        request.served_at,
        request.state,
        request.took_ms,
    ).where(request.served_at >= window.since, request.served_at < window.until)
    if window.experiment is not None:
        query = query.where(request.experiment == window.experiment)
    return query if window.place is None else query.where(_at(window.place))


def _at(place: Place) -> ColumnElement[bool]:
    request = served_requests.c
    page = request.page.is_(None) if place.page is None else request.page == place.page
    return and_(page, request.section == place.section)


def events_of_responses(answers: CTE) -> Select[Any]:
    """Each answer with what came of it: posts seen, clicked ..., and the deepest position seen, from 1.

    Answers and outcomes are put below each other and grouped, for SQLite joins two such tables row by row.
    """
    told, came = [answers.c[name] for name in _TOLD], _came(answers).subquery("came")
    key = [came.c[name] for name in _KEY]
    rows = union_all(
        select(
            *(answers.c[name] for name in _KEY), *told, null().label("kind"), literal(0).label("position")
        ),
        select(*key, *(null().label(name) for name in _TOLD), came.c.kind, came.c.position),
    ).subquery("rows")
    counts = [func.sum(_is(rows.c.kind, name)).label(name) for name in EARLIER]
    depth = func.max(case((rows.c.kind == IMPRESSION, rows.c.position + 1), else_=0)).label("depth")
    of_answer = [func.max(rows.c[name]).label(name) for name in _TOLD]
    return select(*of_answer, *counts, depth).group_by(*(rows.c[name] for name in _KEY))


def _came(answers: CTE) -> Select[Any]:
    """Each kind of outcome once per answer and post, with the deepest position of the post in it."""
    item = served_items.c
    key = [answers.c[name] for name in _KEY]
    return (
        select(*key, item.item_id, outcomes.c.kind, func.max(item.position).label("position"))
        .select_from(answers)
        .join(served_items, and_(*(item[name] == answers.c[name] for name in _KEY)))
        .join(outcomes, and_(outcomes.c.request_id == item.request_id, outcomes.c.item_id == item.item_id))
        .where(outcomes.c.attribution.in_(COUNTING))
        .group_by(*key, item.item_id, outcomes.c.kind)
    )


def _earlier(window: Window, answers: CTE) -> Select[Any]:
    """What the readers of these answers had done before the first, whatever it came of."""
    readers = select(answers.c.unit, answers.c.user_id).distinct().subquery("readers")
    start = window.since - window.days_before * DAY_MICROS
    did = and_(
        outcomes.c.user_id == readers.c.user_id,
        outcomes.c.occurred_at >= start,
        outcomes.c.occurred_at < window.since,
    )
    counts = [func.sum(_is(outcomes.c.kind, name)).label(name) for name in EARLIER]
    return select(readers.c.unit, *counts).select_from(readers.join(outcomes, did)).group_by(readers.c.unit)


def _is(kind: ColumnElement[Any], name: str) -> ColumnElement[int]:
    return case((kind.in_(KINDS[name]), 1), else_=0)
