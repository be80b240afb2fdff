"""Requests of an experiment with what a bandit learns from: the context, the arm, and whether they succeeded.

A request counts once its window for an outcome has closed, for an open one without an outcome would count as
a failure.
"""

from typing import Any

from sqlalchemy import Connection, Integer, Select, and_, case, cast, func, select
from sqlalchemy.sql.expression import ColumnElement

from nearfeed_contracts.tables import outcomes, served_requests
from nearfeed_core.readings import HOUR_MICROS, MINUTE_MICROS
from nearfeed_recommender.experiments.bandit_features import DRAWN_BY
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.results import window_of
from nearfeed_recommender.experiments.schema import REWARDS, Bandit, Metric
from nearfeed_recommender.experiments.sums import COUNTING, unit_of_answer


def delay_of(experiment: Experiment) -> int:
    """How long an outcome is waited for, in microseconds."""
    allocation = experiment.design.allocation
    minutes = allocation.delay_minutes if isinstance(allocation, Bandit) else Bandit().delay_minutes
    return int(minutes * MINUTE_MICROS)


def requests_of(experiment: Experiment, metric: Metric, now: int) -> Select[Any]:
    """A row per request whose window has closed, with `reward` 0 or 1; `hour` counts from 1970 (UTC)."""
    window, delay = window_of(experiment, now), delay_of(experiment)
    request, came = served_requests.c, outcomes.c
    succeeded = (
        select(came.request_id)
        .where(
            came.request_id == request.request_id,
            came.experiment == experiment.name,
            came.kind == REWARDS[metric],
            came.attribution.in_(COUNTING),
            came.occurred_at <= request.served_at + delay,
        )
        .exists()
    )
    return select(
        unit_of_answer().label("unit"),
        request.arm,
        request.propensity,
        request.served_at,
        _readings().label("readings"),
        (request.served_at // HOUR_MICROS).label("hour"),
        case((succeeded, 1), else_=0).label("reward"),
    ).where(
        and_(
            request.experiment == experiment.name,
            request.served_at >= window.since,
            request.served_at < min(window.until, now - delay),
            request.arm.in_(list(experiment.design.arms)),
        )
    )


def counts_by(connection: Connection, experiment: Experiment, now: int, *names: str) -> list[dict[str, Any]]:
    """`trials` and `successes` by these columns of `requests_of`."""
    rows = requests_of(experiment, experiment.design.metric, now).subquery("rows")
    keys = [rows.c[name] for name in names]
    counts = (func.count().label("trials"), func.sum(rows.c.reward).label("successes"))
    query = select(*keys, *counts).group_by(*keys).order_by(*keys)
    return [
        {**row, "trials": int(row["trials"]), "successes": int(row["successes"])}
        for row in connection.execute(query).mappings()
    ]


def _readings() -> ColumnElement[Any]:
    """Those that the draw knew of; of an answer that was noted without, those that rankers know of."""
    told = (func.json_extract(served_requests.c.reader, f"$.{key}") for key in (DRAWN_BY, "readings"))
    return func.coalesce(*(cast(each, Integer) for each in told), 0)
