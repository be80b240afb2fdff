"""A design is read as a whole: each of its faults is told with its place."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from nearfeed_recommender.config.document import Document
from nearfeed_recommender.config.faults import ConfigError, Fault, Found, path_of
from nearfeed_recommender.config.schema import Config
from nearfeed_recommender.config.shape import shape_faults
from nearfeed_recommender.experiments.references import design_faults
from nearfeed_recommender.experiments.schema import Design


def check_design(document: Document, config: Config) -> Design:
    """The design of a document, fit for the configuration that holds. Raises ConfigError with its faults."""
    try:
        design = Design.model_validate(document.body)
    except ValidationError as error:
        raise _refused(shape_faults(error.errors(include_url=False), Design), document) from None
    require_fitting(design, config, document)
    return design


def require_fitting(design: Design, config: Config, document: Document | None = None) -> None:
    """Raises ConfigError where the design names what the configuration does not have."""
    found = list(design_faults(config, design))
    if found:
        raise _refused(found, document or Document(None, name=f"experiment {design.name}"))


def named(document: Document, name: str) -> Document:
    """The document of the experiment `name`, which it may leave out. Raises ConfigError for another name."""
    body: Any = document.body
    if not isinstance(body, dict):
        return document
    if body.get("name", name) != name:
        raise _refused([(("name",), f"must be {name!r}, as in the address")], document)
    return replace(document, body={"name": name, **body})


def _refused(found: Iterable[Found], document: Document) -> ConfigError:
    return ConfigError(
        [Fault(path_of(loc), text, document.line_of(loc)) for loc, text in found], document.name
    )
