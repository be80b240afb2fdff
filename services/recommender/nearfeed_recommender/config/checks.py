"""A document is read as a whole: each of its faults is told, or none is there and it may hold."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial
from importlib.resources import files
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nearfeed_recommender.config.document import Document, yaml_document
from nearfeed_recommender.config.faults import ConfigError, Fault, Found, path_of
from nearfeed_recommender.config.references import formula_faults, reference_faults
from nearfeed_recommender.config.schema import Config, Model, Page, Provider, Relation
from nearfeed_recommender.config.shape import shape_faults

SECTIONS: dict[str, TypeAdapter[Any]] = {
    "models": TypeAdapter(Model),
    "providers": TypeAdapter(Provider),
    "pages": TypeAdapter(Page),
    "relations": TypeAdapter(Relation),
}
Check = Callable[[Config], Iterable[Found]]


def read_config(text: str, *more: Check, name: str = "") -> Config:
    """The configuration of a YAML text. Raises ConfigError with all its faults; `more` finds further ones."""
    return check_document(yaml_document(text, name), *more)


def parse_config(body: Any) -> Config:
    """The configuration of a document in its JSON form. Raises ConfigError."""
    return check_document(Document(body))


def check_document(document: Document, *more: Check) -> Config:
    """The configuration of a document. Raises ConfigError with all its faults."""
    found: list[Found] = []
    try:
        config = Config.model_validate(document.body)
        unread: Mapping[str, Collection[str]] = {}
    except ValidationError as error:
        found += shape_faults(error.errors(include_url=False))
        config, unread = _readable(document.body)
    checks: list[Check] = [partial(reference_faults, unread=unread), formula_faults, *more]
    for check in checks:
        found += check(config)
    if found:
        faults = [Fault(path_of(loc), text, document.line_of(loc)) for loc, text in found]
        raise ConfigError(sorted(faults, key=lambda fault: fault.line or 0), document.name)
    return config


@cache
def default_config() -> Config:
    """What is served until a configuration is applied."""
    text = files(__package__).joinpath("default.yaml").read_text("utf-8")
    return read_config(text, name="default.yaml")


def _readable(body: Any) -> tuple[Config, dict[str, set[str]]]:
    """The entries of a faulty document that can be read by themselves, and the names of the others."""
    body = body if isinstance(body, dict) else {}
    sections = {name: body.get(name) for name in SECTIONS}
    read: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    unread: dict[str, set[str]] = {name: set() for name in SECTIONS}
    for section, entries in sections.items():
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            try:
                read[section][str(name)] = SECTIONS[section].validate_python(entry)
            except ValidationError:
                unread[section].add(str(name))
    return Config.model_construct(None, feed=body.get("feed"), **read), unread
