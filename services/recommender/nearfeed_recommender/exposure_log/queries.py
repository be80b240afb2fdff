"""What the ledger says: of one answer, and of all of the last hours."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Gauge
from sqlalchemy import Connection, Engine, Row, Select, exists, func, select

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import ledger_losses, outcomes, served_items, served_requests
from nearfeed_core.readings import DAY_MICROS
from nearfeed_recommender.exposure_log.attribution import IMPRESSION
from nearfeed_recommender.exposure_log.request_ids import read_request_id
from nearfeed_runtime.sql import read_connection

MISSING = Gauge(
    "nearfeed_served_missing",
    "Answers of the last day of which outcomes are known by a genuine request id, and the ledger has no row.",
)
_ON_THEIR_WAY_MICROS = 60_000_000  # younger outcomes may come before the row of their answer


class UnknownAnswerError(NotFoundError):
    """A request id of which neither the ledger nor any outcome knows."""


@dataclass(frozen=True)
class Answered:
    """An answer as the ledger has it; `sections` is empty where its row was lost or has not come.

    `by_post` has its outcomes by post, in the order of time; `others` are those of posts that do not stand
    in it. `genuine` is None where no reader of it is known.
    """

    request_id: str
    user_id: str | None
    genuine: bool | None
    sections: Sequence[Row[Any]]
    items: Mapping[str, Sequence[Row[Any]]]
    by_post: Mapping[str, Sequence[Row[Any]]]
    others: Sequence[Row[Any]]


@dataclass(frozen=True)
class Summary:
    """Counts since a time; impressions and actions by attribution.

    `lost` are sections that the ledger lacks, by reason, as they were found; `missing` are answers of which
    outcomes are known, and no row.
    """

    since: int
    answers: int
    sections: int
    impressions: Mapping[str, int]
    actions: Mapping[str, int]
    lost: Mapping[str, int]
    missing: int


def answer_of(connection: Connection, secret: bytes, request_id: str) -> Answered:
    """Raises UnknownAnswerError."""
    request, item = served_requests, served_items
    sections = _rows(connection, select(request).where(request.c.request_id == request_id), request.c.section)
    items = _rows(connection, select(item).where(item.c.request_id == request_id), item.c.position)
    came = _rows(
        connection, select(outcomes).where(outcomes.c.request_id == request_id), outcomes.c.occurred_at
    )
    if not sections and not came:
        raise UnknownAnswerError(f"The ledger knows of no answer {request_id!r}.")
    trusted = [
        row.user_id for row in (*sections, *(row for row in came if row.attribution != "invalid_request_id"))
    ]
    user_id = next(iter(trusted), None)
    genuine = None if user_id is None else read_request_id(secret, user_id, request_id) is not None
    served = {row.item_id for row in items}
    return Answered(
        request_id,
        user_id,
        genuine,
        sections,
        _by(items, "section"),
        _by([row for row in came if row.item_id in served], "item_id"),
        [row for row in came if row.item_id not in served],
    )


def summary_of(connection: Connection, since: int) -> Summary:
    """What has come since a time in microseconds."""
    served = served_requests.c
    counted = select(func.count(served.request_id.distinct()), func.count()).where(served.served_at >= since)
    answers, sections = connection.execute(counted).one()
    kinds = _counts(
        connection,
        select(outcomes.c.kind == IMPRESSION, outcomes.c.attribution, func.count())
        .where(outcomes.c.occurred_at >= since)
        .group_by(outcomes.c.kind == IMPRESSION, outcomes.c.attribution),
    )
    losses = (
        select(ledger_losses.c.reason, func.sum(ledger_losses.c.sections))
        .where(ledger_losses.c.found_at >= since)
        .group_by(ledger_losses.c.reason)
    )
    return Summary(
        since,
        answers,
        sections,
        kinds[True],
        kinds[False],
        {reason: int(total) for reason, total in connection.execute(losses)},
        missing_answers(connection, since),
    )


def missing_answers(connection: Connection, since: int) -> int:
    """How many answers are known by the genuine request ids of outcomes alone."""
    row = exists().where(served_requests.c.request_id == outcomes.c.request_id)
    query = select(func.count(outcomes.c.request_id.distinct())).where(
        outcomes.c.attribution == "explicit",
        outcomes.c.occurred_at >= since,
        outcomes.c.occurred_at < now_micros() - _ON_THEIR_WAY_MICROS,
        ~row,
    )
    return connection.scalar(query) or 0


def update_missing_gauge(engine: Engine) -> None:
    """Sets the gauge."""
    with read_connection(engine) as connection:
        MISSING.set(missing_answers(connection, now_micros() - DAY_MICROS))


def _rows(connection: Connection, query: Select[Any], order: Any) -> list[Row[Any]]:
    return list(connection.execute(query.order_by(order)))


def _by(rows: Sequence[Row[Any]], column: str) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[getattr(row, column)].append(row)
    return dict(found)


def _counts(connection: Connection, query: Select[Any]) -> dict[bool, dict[str, int]]:
    found: dict[bool, dict[str, int]] = {True: {}, False: {}}
    for seen, attribution, count in connection.execute(query):
        found[bool(seen)][attribution] = count
    return found
