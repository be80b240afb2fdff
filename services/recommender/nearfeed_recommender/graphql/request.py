"""What a client sends to GraphQL."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class QueryIn(BaseModel):
    """A GraphQL request; what clients send beside it is ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    query: Annotated[str, Field(min_length=1, max_length=100_000)]
    variables: dict[str, Any] | None = None
    operation_name: Annotated[str | None, Field(alias="operationName", max_length=200)] = None
