"""POST /graphql. There is no page to explore with: those that there are load scripts from other hosts."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from graphql import GraphQLError
from pydantic import BaseModel, ConfigDict, Field
from strawberry.http import process_result
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from nearfeed_recommender.api.access import Calling, Context, require
from nearfeed_recommender.api.own_reader import refuse_fields
from nearfeed_recommender.api.problems import FieldError, FieldFault
from nearfeed_recommender.graphql.loaders import Loaders
from nearfeed_recommender.graphql.schema import SCHEMA
from nearfeed_recommender.graphql.types import GraphContext, OtherReaderError

router = APIRouter(tags=["graphql"])


class QueryIn(BaseModel):
    """A GraphQL request; what clients send beside it is ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    query: Annotated[str, Field(min_length=1, max_length=100_000)]
    variables: dict[str, Any] | None = None
    operation_name: Annotated[str | None, Field(alias="operationName", max_length=200)] = None


@router.post(
    "/graphql", summary="Readers, posts, communities and relations", dependencies=[Depends(require("feed"))]
)
async def post_graphql(context: Context, caller: Calling, body: QueryIn) -> dict[str, Any]:
    """Answers a query with `data`, and with `errors` that name the argument. The schema tells the rest."""
    try:
        result = await SCHEMA.execute(
            body.query,
            body.variables,
            GraphContext(Loaders(context.graph), caller.scopes, caller.reader),
            operation_name=body.operation_name,
            allowed_operation_types=[OperationType.QUERY],
        )
    except (CannotGetOperationTypeError, InvalidOperationTypeError) as error:
        raise _fault(error) from None
    refuse_fields([_place(error) for error in result.errors or () if _is_other_reader(error)])
    return dict(process_result(result))


def _is_other_reader(error: GraphQLError) -> bool:
    return isinstance(error.original_error, OtherReaderError)


def _place(error: GraphQLError) -> str:
    """The argument, by the name that the query has given its field."""
    return ".".join(["query", *map(str, error.path or ()), "id"])


def _fault(error: Exception) -> FieldError:
    if isinstance(error, InvalidOperationTypeError):
        fault = FieldFault(field="query", message="must be a query; data is changed over /v1")
    else:
        fault = FieldFault(field="operationName", message="must name one of the operations in query")
    return FieldError(HTTPStatus.UNPROCESSABLE_ENTITY, [fault])
