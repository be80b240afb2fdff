"""POST /graphql. There is no page to explore with: those that there are load scripts from other hosts."""

from importlib import import_module
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from nearfeed_recommender.graphql.sources import GraphSources
from nearfeed_recommender.graphql.threads import in_thread
from nearfeed_recommender.http.access import Calling, require


class QueryIn(BaseModel):
    """A GraphQL request; what clients send beside it is ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    query: Annotated[str, Field(min_length=1, max_length=100_000)]
    variables: dict[str, Any] | None = None
    operation_name: Annotated[str | None, Field(alias="operationName", max_length=200)] = None


_EXECUTING = "nearfeed_recommender.graphql.executing"
router = APIRouter(tags=["graphql"])


async def _graph_of(request: Request) -> GraphSources:
    return cast(GraphSources, request.app.state.graph)


Graph = Annotated[GraphSources, Depends(_graph_of)]


@router.post(
    "/graphql",
    summary="Query users, posts, communities and relations",
    dependencies=[Depends(require("feed"))],
)
async def post_graphql(graph: Graph, caller: Calling, body: QueryIn) -> dict[str, Any]:
    """Answers a query with `data`, and with `errors` that name the argument. The schema tells the rest."""
    executing = await in_thread(lambda: import_module(_EXECUTING))
    return cast(dict[str, Any], await executing.execute(graph, caller, body))
