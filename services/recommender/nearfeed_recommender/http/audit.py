"""GET /v1/admin/audit: who has changed what by hand."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from nearfeed_contracts.fields import MAX_LIMIT, from_micros
from nearfeed_recommender.http.access import Context, require
from nearfeed_runtime.auditing import audited
from nearfeed_runtime.sql import read_connection

router = APIRouter(prefix="/v1/admin", tags=["access"], dependencies=[Depends(require("admin"))])


class AuditedOut(BaseModel):
    """A change: `actor` is `key:NAME` over HTTP, and an author or a user of the machine for a command."""

    number: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


class AuditOut(BaseModel):
    """Changes, newest first; `before` continues with the older ones, and is null at the end."""

    changes: list[AuditedOut]
    before: int | None


@router.get("/audit", summary="Changes by operators, newest first")
def get_audit(
    context: Context,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 20,
    before: Annotated[int | None, Query(ge=0, description="only changes of a lower number")] = None,
) -> AuditOut:
    with read_connection(context.engine) as connection:
        found = audited(connection, before, limit + 1)
    changes = [AuditedOut(**{**change._asdict(), "at": from_micros(change.at)}) for change in found[:limit]]
    return AuditOut(changes=changes, before=changes[-1].number if len(found) > limit else None)
