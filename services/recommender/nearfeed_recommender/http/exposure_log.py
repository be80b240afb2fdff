"""GET /v1/admin/ledger: what was served, and what came of it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import Row

from nearfeed_contracts.events import Attribution, ServedState
from nearfeed_contracts.fields import Id, from_micros, now_micros
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.exposure_log.queries import Answered, answer_of, summary_of
from nearfeed_recommender.http.access import Context, require
from nearfeed_runtime.sql import read_connection

router = APIRouter(prefix="/v1/admin/ledger", tags=["ledger"], dependencies=[Depends(require("admin"))])
MAX_HOURS = 30 * 24


class OutcomeOut(BaseModel):
    """An impression or an action.

    `attribution`: by its own request id (`told`), by the impression at `impression_at` (`window`), by none
    (`none`); `unknown`: the answer is known and the post does not stand in it; `forged`: the request id was
    not given to this reader.
    """

    user_id: str
    item_id: str
    kind: str
    occurred_at: datetime
    value: float | None
    attribution: Attribution
    impression_at: datetime | None
    experiment: str | None
    arm: str | None


class ServedItemOut(BaseModel):
    """A post in a section, with what came of it; positions count from 0."""

    item_id: str
    position: int
    source: str
    score: float
    outcomes: list[OutcomeOut]


class ServedSectionOut(BaseModel):
    """A section as it went out; `took_ms` is the time from the request until it was noted."""

    section: str
    page: str | None
    served_at: datetime
    provider: str
    config_version: int
    space: str | None
    experiment: str | None
    arm: str | None
    propensity: float | None
    unit_id: str | None
    state: ServedState
    took_ms: float | None
    items: list[ServedItemOut]


class AnswerOut(BaseModel):
    """An answer. Without `sections` its row was lost, or has not come yet.

    `others` are outcomes that name this answer, of posts that do not stand in it.
    """

    request_id: str
    user_id: str | None
    genuine: bool | None = Field(description="null: no reader of it is known")
    sections: list[ServedSectionOut]
    others: list[OutcomeOut]


class LedgerOut(BaseModel):
    """Counts since a time; impressions and actions by attribution.

    `lost` are sections that the ledger lacks, by the reason, counted when that was found; `missing` are
    answers that are known by the genuine request ids of outcomes alone, a minute and more old.
    """

    since: datetime
    answers: int
    sections: int
    impressions: dict[Attribution, int]
    actions: dict[Attribution, int]
    lost: dict[str, int]
    missing: int


@router.get("", summary="Exposures and attributed events of the last hours")
def get_ledger(context: Context, hours: Annotated[float, Query(gt=0, le=MAX_HOURS)] = 24) -> LedgerOut:
    with read_connection(context.engine) as connection:
        summary = summary_of(connection, now_micros() - int(hours * HOUR_MICROS))
    return LedgerOut.model_validate({**vars(summary), "since": from_micros(summary.since)})


@router.get("/{request_id}", summary="A response and its attributed events")
def get_answer(
    context: Context, request_id: Annotated[Id, Path(description="request_id of the answer")]
) -> AnswerOut:
    with read_connection(context.engine) as connection:
        answered = answer_of(connection, context.joining.secret, request_id)
    return AnswerOut(
        request_id=answered.request_id,
        user_id=answered.user_id,
        genuine=answered.genuine,
        sections=[_section(answered, row) for row in answered.sections],
        others=_outcomes(answered.others),
    )


def _section(answered: Answered, row: Row[Any]) -> ServedSectionOut:
    items = [
        ServedItemOut(**item._asdict(), outcomes=_outcomes(answered.by_post.get(item.item_id, ())))
        for item in answered.items.get(row.section, ())
    ]
    columns = {**row._asdict(), "served_at": from_micros(row.served_at)}
    return ServedSectionOut.model_validate({**columns, "items": items})


def _outcomes(rows: Iterable[Row[Any]]) -> list[OutcomeOut]:
    return [OutcomeOut.model_validate({**row._asdict(), **_times(row)}) for row in rows]


def _times(row: Row[Any]) -> dict[str, datetime | None]:
    seen = None if row.impression_at is None else from_micros(row.impression_at)
    return {"occurred_at": from_micros(row.occurred_at), "impression_at": seen}
