"""The base of all that a YAML map holds: a name that is unknown is told with those that are known."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

UNKNOWN = "unknown_name"


class Strict(BaseModel):
    """Refuses names that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _only_known_names(cls, given: Any) -> Any:
        if isinstance(given, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for name in given:
                if name not in known:
                    context = {"name": str(name), "known": ", ".join(known)}
                    raise PydanticCustomError(UNKNOWN, "is unknown; here may stand {known}", context)
        return given
