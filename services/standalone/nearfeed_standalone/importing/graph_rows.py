"""Rows of files of vertices and edges, as a row by itself is checked: what decides, and says why not."""

from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nearfeed_contracts.fields import Label
from nearfeed_standalone.importing.rows import RowId, id_of

MAX_PROPERTIES = 40_000
DEFAULT_SCORE = 1.0


def properties_text(value: Any) -> str:
    """A JSON object as text. Raises ValueError."""
    try:
        found = orjson.loads(value) if isinstance(value, str) else value
        if not isinstance(found, dict):
            raise ValueError("must be a JSON object")
        text = orjson.dumps(found).decode()
    except (TypeError, orjson.JSONDecodeError) as error:
        raise ValueError(f"is no JSON object ({error})") from None
    if len(text) > MAX_PROPERTIES:
        raise ValueError(f"has more than {MAX_PROPERTIES:,} characters")
    return text


RowLabel = Annotated[Label, BeforeValidator(id_of)]
RowProperties = Annotated[str, BeforeValidator(properties_text)]


class VertexRow(BaseModel):
    """`kind, vertex_id, properties?`"""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: RowLabel
    vertex_id: RowId
    properties: RowProperties = "{}"


class EdgeRow(BaseModel):
    """`label, from_id, to_id, score?, properties?`"""

    model_config = ConfigDict(extra="ignore", frozen=True)

    label: RowLabel
    from_id: RowId
    to_id: RowId
    score: Annotated[float, Field(allow_inf_nan=False)] = DEFAULT_SCORE
    properties: RowProperties | None = None
