"""Reads a YAML map whole; what is wrong is told with its path in the file."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from nearfeed_contracts.errors import NearfeedError
from nearfeed_recommender.infra.strict_yaml import StrictLoader, describe_yaml_fault
from nearfeed_recommender.ingest.sources import UNKNOWN

M = TypeVar("M", bound=BaseModel)
Loc = tuple[int | str, ...]
_NO_NAMES = "must hold names with their values"
_FAULTS = {"missing": "is missing", "model_type": _NO_NAMES, "dict_type": _NO_NAMES}


class MapError(NearfeedError):
    """A map that cannot be used; the text names the file and the path in it."""

    def __init__(self, file: Path, path: str, fault: str) -> None:
        super().__init__(f"{file.name}: {path}: {fault}." if path else f"{file.name}: {fault}.")


def read_map(file: Path, model: type[M]) -> M:
    """Raises MapError with the first fault of the file."""
    try:
        body = yaml.load(file.read_bytes(), StrictLoader)  # noqa: S506 - it is a safe loader
    except OSError as error:
        raise MapError(file, "", f"{file} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise MapError(file, "", describe_yaml_fault(error)) from None
    if not isinstance(body, dict):
        raise MapError(file, "", _NO_NAMES)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        path, fault = _first_fault(error, body)
        raise MapError(file, path, fault) from None


def path_of(loc: Loc, body: Any) -> str:
    """A place in the file, such as `interactions[1].kind`; a section that stands alone has no number."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            if not isinstance(body, list):
                continue
            path += f"[{step}]"
            body = body[step] if step < len(body) else None
        else:
            path += f".{step}" if path else step
            body = body.get(step) if isinstance(body, dict) else None
    return path


def _first_fault(error: ValidationError, body: Any) -> tuple[str, str]:
    first = error.errors(include_url=False)[0]
    loc: Loc = first["loc"]
    if first["type"] == UNKNOWN:
        loc = (*loc, first["ctx"]["name"])
    fault = _FAULTS.get(first["type"], first["msg"].removeprefix("Value error, "))
    return path_of(loc, body), fault[:1].lower() + fault[1:]
