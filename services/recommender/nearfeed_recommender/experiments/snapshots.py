"""Results as they were, hour by hour: they outlive the ledger, for no reader's id is in them."""

import time
from functools import partial
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine, func, select

from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.tables import experiment_results
from nearfeed_core.readings import HOUR_MICROS, MINUTE_MICROS
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.report_schema import ArmResult, PointOut, Results
from nearfeed_recommender.experiments.results import NOTHING, results_of
from nearfeed_runtime.sql import committed, read_connection, upsert

_PER_AGE = 60  # of a young experiment this many are kept, and one an hour from the 60th hour on
_PER_COST = 100  # results are fresh for so many times as long as it took to gather them
MOST_POINTS = 1_000
_WATCHED = ("readers", "requests", "degraded", "failed", "took_p50_ms", "took_p95_ms")
_POINTS = TypeAdapter(list[PointOut])


def last_results(connection: Connection, name: str, until: int | None = None) -> Results | None:
    """The newest that are kept of an experiment; none later than `until`."""
    table = experiment_results.c
    query = select(table.document).where(table.experiment == name).order_by(table.at.desc()).limit(1)
    if until is not None:
        query = query.where(table.at <= until)
    document = connection.scalar(query)
    return Results.model_validate_json(document) if document else None


def current_results(connection: Connection, experiment: Experiment, now: int) -> Results:
    """The results of now; of an experiment whose end has been kept, those of its end."""
    kept = last_results(connection, experiment.name, experiment.stopped_at)
    if kept and experiment.stopped_at is not None and to_micros(kept.until) == experiment.stopped_at:
        return kept
    return results_of(connection, experiment, now, kept)


def latest_results(connection: Connection, experiment: Experiment, now: int) -> Results:
    """Those that were kept last while they are fresh, else those of now."""
    kept = last_results(connection, experiment.name, experiment.stopped_at)
    if kept and _is_fresh(experiment, kept, now):
        return kept
    return current_results(connection, experiment, now)


def _is_fresh(experiment: Experiment, kept: Results, now: int) -> bool:
    """For a sixtieth of the experiment's age, an hour at most, or for longer where results are costly.

    Never once the experiment, or an arm of it, was stopped since.
    """
    until, start = to_micros(kept.until), experiment.started_at
    if experiment.stopped_at is not None or start is None:
        return False
    if until < max(experiment.traffic.stopped_at.values(), default=start):
        return False
    cost = _PER_COST * (kept.took_ms or 0.0) * 1_000
    return now - until <= max(min(HOUR_MICROS, (now - start) // _PER_AGE), cost)


def course_of(connection: Connection, name: str) -> list[PointOut]:
    """How an experiment's metric has gone, oldest first: a thousand looks at most."""
    table = experiment_results.c
    query = select(table.points).where(table.experiment == name).order_by(table.at.desc()).limit(MOST_POINTS)
    looks = [_POINTS.validate_json(points) for points in connection.scalars(query)]
    return [point for points in reversed(looks) for point in points]


def row_of(results: Results) -> dict[str, Any]:
    """Results as they are kept; the points of the course stand apart, to be read by themselves."""
    return {
        "experiment": results.experiment,
        "at": to_micros(results.until),
        "document": results.model_dump_json(),
        "points": _POINTS.dump_json(points_of(results)).decode(),
    }


def points_of(results: Results) -> list[PointOut]:
    """An experiment's own metric by arm, as it is at the time of results; no intervals of earlier times."""
    return [_point(results, arm) for arm in results.arms]


def _point(results: Results, arm: ArmResult) -> PointOut:
    measured = arm.metrics[results.metric]
    if results.intervals_until is not None and results.intervals_until < results.until:
        measured = NOTHING.model_copy(update={"mean": measured.mean})
    watched = {name: getattr(arm, name) for name in _WATCHED}
    depth = arm.metrics["depth"].mean
    return PointOut(at=results.until, arm=arm.arm, depth=depth, **watched, **vars(measured))


def keep_if_due(engine: Engine, experiment: Experiment, now: int) -> bool:
    """Keeps results where the last are old, and once more at the end; returns whether it was due."""
    with read_connection(engine) as connection:
        if not _is_due(experiment, _last_at(connection, experiment), now):
            return False
        before = last_results(connection, experiment.name, experiment.stopped_at)
        began = time.perf_counter()
        found = results_of(connection, experiment, now, before)
        took_ms = (time.perf_counter() - began) * 1_000
    row = row_of(found.model_copy(update={"took_ms": took_ms}))
    committed(engine, partial(upsert, table=experiment_results, rows=[row]))
    return True


def _last_at(connection: Connection, experiment: Experiment) -> int | None:
    table = experiment_results.c
    query = select(func.max(table.at)).where(table.experiment == experiment.name)
    if experiment.stopped_at is not None:
        query = query.where(table.at <= experiment.stopped_at)
    found: int | None = connection.scalar(query)
    return found


def _is_due(experiment: Experiment, last: int | None, now: int) -> bool:
    start, end = experiment.started_at, experiment.stopped_at
    if start is None:
        return False
    if end is not None:
        return last is None or last < end
    pause = min(HOUR_MICROS, max(MINUTE_MICROS, (now - start) // _PER_AGE))
    return now - (last or start) >= pause
