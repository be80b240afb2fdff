"""Groups from the served ledger: what was shown, with the inputs of that moment, and what came of it."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, Engine, Row, Select, and_, func, select

from nearfeed_contracts.events import KINDS
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import interactions, served_items, served_requests
from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs
from nearfeed_core.readings import Reading, WeightRule
from nearfeed_embedder.rankers.examples import DAY_MICROS, LABEL_DAYS, Group
from nearfeed_embedder.stages import Stage
from nearfeed_runtime.operations import Progress
from nearfeed_runtime.sql import read_connection

NEWEST_REQUESTS = 50_000
ANSWER_MICROS = 3_600_000_000
_BATCH = 20_000
_STAGE = "Reading what was served"


def read_ledger(
    engine: Engine, rule: WeightRule, *, until: int | None = None, days: float = LABEL_DAYS
) -> Stage[list[Group]]:
    """The newest 50,000 sections that were served an hour and more before `until`, oldest first.

    `until` is in microseconds since 1970, now where it is None. A post is read where its reader has a
    counting event with it within `days` after it was served and before `until`; its grade is the sum of
    the weights of these kinds. A reading's row keeps the latest time of each kind, so a kind that came
    again after that time is not found.
    """
    end = now_micros() if until is None else until
    groups: list[Group] = []
    with read_connection(engine) as connection:
        total = min(NEWEST_REQUESTS, _count(connection, end))
        yield Progress(_STAGE, 0, total)
        rows = _rows(connection, end, _oldest(connection, end))
        for group in _groups(rows, rule, end, int(days * DAY_MICROS)):
            groups.append(group)
            if not len(groups) % 1_000:
                yield Progress(_STAGE, min(len(groups), total), total)
    yield Progress(_STAGE, total, total)
    return groups


def _count(connection: Connection, end: int) -> int:
    answered = served_requests.c.served_at < end - ANSWER_MICROS
    return connection.scalar(select(func.count()).select_from(served_requests).where(answered)) or 0


def _oldest(connection: Connection, end: int) -> int:
    """When the oldest section that is taken was served."""
    times = (
        select(served_requests.c.served_at)
        .where(served_requests.c.served_at < end - ANSWER_MICROS)
        .order_by(served_requests.c.served_at.desc())
    )
    return connection.scalar(times.offset(NEWEST_REQUESTS - 1).limit(1)) or 0


def _rows(connection: Connection, end: int, oldest: int) -> Iterator[Row[Any]]:
    result = connection.execution_options(yield_per=_BATCH).execute(_statement(end, oldest))
    for batch in result.partitions():
        yield from batch


def _statement(end: int, oldest: int) -> Select[Any]:
    request, item, read = served_requests.c, served_items.c, interactions.c
    same_section = and_(item.request_id == request.request_id, item.section == request.section)
    same_reading = and_(read.user_id == request.user_id, read.item_id == item.item_id)
    shown = served_requests.join(served_items, same_section).outerjoin(interactions, same_reading)
    return (
        select(
            request.request_id,
            request.section,
            request.served_at,
            request.reader,
            item.position,
            item.inputs,
            read.rating_value,
            *(read[f"{kind}_at"] for kind in KINDS),
        )
        .select_from(shown)
        .where(request.served_at < end - ANSWER_MICROS, request.served_at >= oldest)
        .order_by(request.served_at, request.request_id, request.section, item.position)
    )


def _groups(rows: Iterable[Row[Any]], rule: WeightRule, end: int, window: int) -> Iterator[Group]:
    for _, section in groupby(rows, key=lambda row: (row.request_id, row.section)):
        shown = list(section)
        served_at = shown[0].served_at
        last = min(served_at + window, end - 1)
        yield Group(
            ReaderInputs.from_json(orjson.loads(shown[0].reader)),
            tuple(PostInputs.from_json(orjson.loads(row.inputs)) for row in shown),
            tuple(row.position for row in shown),
            np.array([_grade(row, rule, served_at, last) for row in shown], np.float32),
        )


def _grade(row: Row[Any], rule: WeightRule, first: int, last: int) -> float:
    times = row._mapping
    known = {kind: times[f"{kind}_at"] for kind in KINDS if times[f"{kind}_at"] is not None}
    counting = Reading(known, row.rating_value).counting_times()
    return sum(rule.by_kind.get(kind, 0.0) for kind, at in counting.items() if first <= at <= last)
