"""A query, answered by the schema. It is imported by the first query: the libraries take most of a second."""

from http import HTTPStatus
from typing import Any

from graphql import GraphQLError
from strawberry.http import process_result
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from nearfeed_recommender.access.callers import Caller
from nearfeed_recommender.graphql.loaders import Loaders
from nearfeed_recommender.graphql.routes import QueryIn
from nearfeed_recommender.graphql.schema import SCHEMA
from nearfeed_recommender.graphql.sources import GraphSources
from nearfeed_recommender.graphql.types import GraphContext, OtherReaderError
from nearfeed_recommender.http.own_user import refuse_fields
from nearfeed_recommender.http.problems import FieldError, FieldFault


async def execute(graph: GraphSources, caller: Caller, query: QueryIn) -> dict[str, Any]:
    """`data`, and `errors` that name the argument. Raises FieldError."""
    try:
        result = await SCHEMA.execute(
            query.query,
            query.variables,
            GraphContext(Loaders(graph), caller.scopes, caller.reader),
            operation_name=query.operation_name,
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
