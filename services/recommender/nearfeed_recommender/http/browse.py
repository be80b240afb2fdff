"""What a client may do, and what there is to join."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from sqlalchemy import select

from nearfeed_contracts.fields import MAX_LIMIT, Id
from nearfeed_contracts.tables import communities
from nearfeed_recommender.http.access import Calling, Context, require
from nearfeed_runtime.sql import read_connection

router = APIRouter(prefix="/v1", tags=["browse"])


class ScopesOut(BaseModel):
    """What the call's key allows."""

    scopes: list[str]


class CommunitiesOut(BaseModel):
    """Communities by id; `after` continues the list, and is null at its end."""

    communities: list[str]
    after: str | None


@router.get("/scopes", summary="Scopes of the key")
def get_scopes(caller: Calling) -> ScopesOut:
    return ScopesOut(scopes=sorted(caller.scopes))


@router.get("/communities", summary="All communities", dependencies=[Depends(require("feed"))])
def get_communities(
    context: Context,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = MAX_LIMIT,
    after: Annotated[Id | None, Query(description="the community after which the list goes on")] = None,
) -> CommunitiesOut:
    query = select(communities.c.community_id).order_by(communities.c.community_id).limit(limit + 1)
    if after is not None:
        query = query.where(communities.c.community_id > after)
    with read_connection(context.engine) as connection:
        found = list(connection.scalars(query))
    more = len(found) > limit
    return CommunitiesOut(communities=found[:limit], after=found[limit - 1] if more else None)
