"""What is held of a reader: all of it as a file, and what remains after an erasure."""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from nearfeed_contracts.fields import Id
from nearfeed_recommender.http.access import Context, require
from nearfeed_recommender.users.erasure_check import check_erasure
from nearfeed_recommender.users.personal_data import export_of

router = APIRouter(prefix="/v1", tags=["readers"])
UserId = Annotated[Id, Path(description="the reader")]
_HEADERS = {"Content-Disposition": 'attachment; filename="reader.json"', "Cache-Control": "no-store"}


class RemainsOut(BaseModel):
    """Something that is left of a reader."""

    where: str
    what: str
    until: datetime | None = Field(description="when it will be gone at the latest; null: nothing ends it")


class ErasureOut(BaseModel):
    """What remains of a reader; `done` says that they were erased and the rest ends by itself."""

    user_id: str
    erased_at: datetime | None
    done: bool
    remains: list[RemainsOut]
    notes: list[str]


@router.get(
    "/users/{user_id:path}/export",
    summary="Export the data of a user",
    dependencies=[Depends(require("feed"))],
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/json": {}}, "description": "docs/reader-controls.md has the form"}
    },
)
def export(context: Context, user_id: UserId) -> StreamingResponse:
    """One JSON object, sent while it is read."""
    parts = export_of(context.engine, user_id)
    begun = _first_rows(parts)
    return StreamingResponse(chain([begun], parts), media_type="application/json", headers=_HEADERS)


@router.get(
    "/admin/erasure/{user_id:path}",
    summary="Check what remains of an erased user",
    dependencies=[Depends(require("admin"))],
)
def get_erasure(context: Context, user_id: UserId) -> ErasureOut:
    """Looks through SQL and all runs, which may take a while; as `nearfeed erasure check`."""
    settings = context.settings
    report = check_erasure(
        context.engine,
        settings.runs_url,
        context.joining.secret,
        user_id,
        has_app_topics=bool(settings.topic_map),
    )
    remains = [RemainsOut(**each._asdict()) for each in report.remains]
    return ErasureOut(
        user_id=user_id,
        erased_at=report.erased_at,
        done=report.is_done,
        remains=remains,
        notes=list(report.notes),
    )


def _first_rows(parts: Iterator[bytes]) -> bytes:
    """The beginning, with the first that SQL says: where it does not answer, the answer is an error."""
    return b"".join(next(parts) for _ in range(3))
