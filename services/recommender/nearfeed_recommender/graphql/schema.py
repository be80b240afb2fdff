"""The schema: where a query may begin, and what guards it."""

from typing import Annotated

import strawberry
import structlog
from graphql import GraphQLError
from sqlalchemy import true
from strawberry.extensions import MaskErrors, MaxAliasesLimiter, MaxTokensLimiter, QueryDepthLimiter
from strawberry.types import ExecutionContext

from nearfeed_contracts.errors import BackendUnavailableError, NearfeedError
from nearfeed_recommender.graphql import types
from nearfeed_recommender.graphql.limits import MAX_ALIASES, MAX_DEPTH, MAX_TOKENS, CostLimiter
from nearfeed_recommender.graphql.lucene import condition_of
from nearfeed_recommender.graphql.types import Community, Info, Item, Limit, Reader, Vertex

logger = structlog.get_logger(__name__)
Search = Annotated[
    str | None,
    strawberry.argument(
        description="Lucene's syntax over title, body, tags, community, author, language, published_at"
    ),
]


@strawberry.type
class Query:
    @strawberry.field(description="A reader; an id that nobody has used is one without readings.")
    def reader(self, info: Info, id: strawberry.ID) -> Reader:
        types.require_own(info, id)
        return Reader(id=id)

    @strawberry.field(description="A post; null where there is none of that id.")
    async def item(self, info: Info, id: strawberry.ID) -> Item | None:
        return await types.item(info, id)

    @strawberry.field(description="The newest posts, or the newest of those that match a search.")
    async def items(self, info: Info, search: Search = None, limit: Limit = 10) -> list[Item] | None:
        loaders = info.context.loaders
        condition = true() if search is None else condition_of(search, loaders.dialect)
        return await types.items(info, await loaders.search(condition, limit))

    @strawberry.field(description="A community; null where there is none of that id.")
    async def community(self, info: Info, id: strawberry.ID) -> Community | None:
        known = await info.context.loaders.communities.load(id)
        return None if known is None else Community(id=id)

    @strawberry.field(description="Communities, by id.")
    async def communities(self, info: Info, limit: Limit = 10) -> list[Community]:
        names = await info.context.loaders.first_communities(limit)
        return [Community(id=strawberry.ID(name)) for name in names]

    @strawberry.field(description="A vertex that was loaded in bulk; null where there is none.")
    async def vertex(self, info: Info, kind: str, id: strawberry.ID) -> Vertex | None:
        return await types.vertex(info, kind, id)


class GraphSchema(strawberry.Schema):
    """Logs what is not the client's fault."""

    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,  # noqa: ARG002
    ) -> None:
        for error in errors:
            if isinstance(error.original_error, BackendUnavailableError):
                logger.warning("graphql field failed", path=error.path, error=str(error.original_error))
            elif _is_unexpected(error):
                logger.error("graphql field failed", path=error.path, exc_info=error.original_error)


def _is_unexpected(error: GraphQLError) -> bool:
    cause = error.original_error
    return cause is not None and not isinstance(cause, NearfeedError | GraphQLError)


SCHEMA = GraphSchema(
    Query,
    extensions=[
        lambda: MaxTokensLimiter(MAX_TOKENS),
        CostLimiter,
        lambda: MaxAliasesLimiter(MAX_ALIASES),
        lambda: QueryDepthLimiter(MAX_DEPTH),
        lambda: MaskErrors(_is_unexpected, "An unexpected error; it has been logged."),
    ],
)
