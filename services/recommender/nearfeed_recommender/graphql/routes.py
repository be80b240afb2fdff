"""POST /graphql. There is no page to explore with: those that there are load scripts from other hosts."""

from importlib import import_module
from typing import Any, cast

from fastapi import APIRouter, Depends

from nearfeed_recommender.api.access import Calling, Context, require
from nearfeed_recommender.graphql.request import QueryIn
from nearfeed_recommender.graphql.threads import in_thread

_EXECUTING = "nearfeed_recommender.graphql.executing"
router = APIRouter(tags=["graphql"])


@router.post(
    "/graphql", summary="Readers, posts, communities and relations", dependencies=[Depends(require("feed"))]
)
async def post_graphql(context: Context, caller: Calling, body: QueryIn) -> dict[str, Any]:
    """Answers a query with `data`, and with `errors` that name the argument. The schema tells the rest."""
    executing = await in_thread(lambda: import_module(_EXECUTING))
    return cast(dict[str, Any], await executing.execute(context.graph, caller, body))
