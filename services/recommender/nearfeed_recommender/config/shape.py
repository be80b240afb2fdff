"""What pydantic finds wrong with a document, told by its places and in the document's own words."""

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic_core import ErrorDetails

from nearfeed_recommender.config.faults import Found, Loc
from nearfeed_recommender.config.schema import Config

_KEY = "[key]"
_NO_NAMES = "must hold names with their values"
_MESSAGES = {
    "missing": "is missing",
    "model_type": _NO_NAMES,
    "model_attributes_type": _NO_NAMES,
    "dict_type": _NO_NAMES,
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "string_type": "must be text (put a number, a date, yes or no in quotes)",
}


def shape_faults(errors: list[ErrorDetails], form: type[BaseModel] = Config) -> list[Found]:
    """The faults of a ValidationError of Config, or of another form."""
    found = [_found(error, form) for error in errors]
    places = [loc for loc, _ in found]
    return [(loc, message) for loc, message in found if not _said_deeper(loc, message, places)]


def _found(error: ErrorDetails, form: Any) -> Found:
    place: list[int | str] = []
    for step in error["loc"]:
        if step == _KEY:
            return tuple(place), f"this name {_message(error, form)}"
        inner, stands = _step(form, step)
        place.extend(stands)
        if error["type"] != "extra_forbidden" or inner is not None:
            form = inner
    if error["type"].startswith("union_tag"):
        place.append(error["ctx"]["discriminator"].strip("'"))
    return tuple(place), _message(error, form)


def _step(form: Any, step: int | str) -> tuple[Any, Loc]:
    """The form at a step of pydantic's path, and that step in the document, which has no tags of unions."""
    members = _members(form)
    if len(members) > 1:
        return next((bare for tag, bare in members.items() if tag == step), None), ()
    bare = next(iter(members.values()), None)
    if get_origin(bare) is dict:
        return get_args(bare)[1], (str(step),)
    if get_origin(bare) is tuple:
        return get_args(bare)[0], (step,)
    if isinstance(bare, type) and issubclass(bare, BaseModel) and step in bare.model_fields:
        return bare.model_fields[str(step)].annotation, (step,)
    return None, (step,)


def _members(form: Any) -> dict[str, Any]:
    """The forms that may stand in a place by their tags in pydantic's path; one that is alone has none."""
    if get_origin(form) is Annotated:
        tag = next((part.tag for part in form.__metadata__ if isinstance(part, Tag)), None)
        inner = _members(get_args(form)[0])
        return dict.fromkeys([tag], next(iter(inner.values()))) if tag else inner
    if get_origin(form) in (Union, UnionType):
        return {
            tag: bare
            for member in get_args(form)
            if member is not type(None)
            for tag, bare in _members(member).items()
        }
    return {_tag(form): form}


def _tag(form: Any) -> str:
    """The value of a part's first field where that is a literal, as in `type: walk`."""
    if isinstance(form, type) and issubclass(form, BaseModel):
        for field in form.model_fields.values():
            if get_origin(field.annotation) is Literal:
                return str(get_args(field.annotation)[0])
    return ""


def _message(error: ErrorDetails, form: Any) -> str:
    if error["type"] == "extra_forbidden":
        (part,) = _members(form).values()
        return f"is unknown; here may stand {', '.join(part.model_fields)}"
    if error["type"] == "union_tag_not_found":
        return f"is missing; here may stand {', '.join(_members(form))}"
    if error["type"] == "union_tag_invalid":
        return f"{error['ctx']['tag']!r} is unknown; here may stand {', '.join(_members(form))}"
    if error["type"] == "literal_error":
        (bare,) = _members(form).values()
        return f"{error['input']!r} is unknown; here may stand {', '.join(get_args(bare))}"
    return _MESSAGES.get(error["type"]) or _plain(error["msg"])


def _plain(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _said_deeper(loc: Loc, message: str, places: list[Loc]) -> bool:
    """A list whose only part is at fault is said to be short of parts too."""
    return message == _MESSAGES["too_short"] and any(
        len(other) > len(loc) and other[: len(loc)] == loc for other in places
    )
