"""POST /graphql. There is no page to explore with: those that there are load scripts from other hosts."""

from importlib import import_module
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request

from nearfeed_recommender.graphql.request import QueryIn
from nearfeed_recommender.graphql.sources import GraphSources
from nearfeed_recommender.graphql.threads import in_thread
from nearfeed_recommender.http.access import Calling, require

_EXECUTING = "nearfeed_recommender.graphql.executing"
router = APIRouter(tags=["graphql"])


async def _graph_of(request: Request) -> GraphSources:
    return cast(GraphSources, request.app.state.graph)


Graph = Annotated[GraphSources, Depends(_graph_of)]


@router.post(
    "/graphql", summary="Readers, posts, communities and relations", dependencies=[Depends(require("feed"))]
)
async def post_graphql(graph: Graph, caller: Calling, body: QueryIn) -> dict[str, Any]:
    """Answers a query with `data`, and with `errors` that name the argument. The schema tells the rest."""
    executing = await in_thread(lambda: import_module(_EXECUTING))
    return cast(dict[str, Any], await executing.execute(graph, caller, body))
