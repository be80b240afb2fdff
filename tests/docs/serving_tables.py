"""The tables of docs/serving.md, made from the schema."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from nearfeed_recommender.config import schema

UNIONS = {
    "models": ("kind", schema.Model),
    "sources": ("type", schema.Source),
    "blends": ("type", schema.Blend),
    "rankings": ("type", schema.Ranking),
    "rules": ("rule", schema.SlateRule),
}
PARTS = {
    "provider": schema.Provider,
    "page": schema.Page,
    "section": schema.Section,
    "stored relation": schema.StoredRelation,
    "live relation": schema.LiveRelation,
}
Part = type[BaseModel]


def tables() -> dict[str, str]:
    """Each table by the name that its markers in the document have."""
    found = {name: "\n".join(_union(key, form)) for name, (key, form) in UNIONS.items()}
    return {**found, "parts": "\n".join(_parts())}


def members(form: Any) -> list[Part]:
    """The parts of an annotated union, in the order of the schema."""
    return list(get_args(get_args(form)[0]))


def value_of(part: Part, key: str) -> str:
    """The literal that tells a part from the others."""
    return str(get_args(part.model_fields[key].annotation)[0])


def _union(key: str, form: Any) -> Iterator[str]:
    yield f"| `{key}` | what it is | its words, with their defaults |"
    yield "|---|---|---|"
    for part in members(form):
        yield f"| `{value_of(part, key)}` | {_told(part)} | {_words(part, key)} |"


def _parts() -> Iterator[str]:
    yield "| part | what it is | its words, with their defaults |"
    yield "|---|---|---|"
    for name, part in PARTS.items():
        yield f"| {name} | {_told(part)} | {_words(part, '')} |"


def _told(part: Part) -> str:
    return " ".join((part.__doc__ or "").split())


def _words(part: Part, key: str) -> str:
    common = schema.SourceBase.model_fields
    own = {name: field for name, field in part.model_fields.items() if name != key and name not in common}
    if part in members(schema.Model) and "run" in own:
        return "`run`, or `latest`"
    return ", ".join(_word(name, field) for name, field in own.items())


def _word(name: str, field: Any) -> str:
    if field.default is None:
        return f"`{name}` (may be left out)"
    if field.default is PydanticUndefined:
        return f"`{name}`"
    return f"`{name}: {_default(field.default)}`"


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        body = value.model_dump(mode="json", exclude_defaults=True) | value.model_dump(include={"type"})
        return "{" + ", ".join(f"{key}: {inner}" for key, inner in body.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
