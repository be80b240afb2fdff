"""Validates a design as a whole, against the configuration too: each fault has its place."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from nearfeed_recommender.config.document import Document
from nearfeed_recommender.config.faults import ConfigError, Fault, Found, path_of
from nearfeed_recommender.config.schema import Config
from nearfeed_recommender.config.shape import shape_faults
from nearfeed_recommender.experiments.records import Experiment, list_experiments
from nearfeed_recommender.experiments.schema import Design, Place
from nearfeed_runtime.sql import read_connection


def design_faults(config: Config, design: Design) -> Iterator[Found]:
    """The places of a design that name what the configuration does not have."""
    if design.place.page is not None:
        yield from _target_faults(config, design.place)
    for arm, provider in design.arms.items():
        if provider is not None and provider not in config.providers:
            known = ", ".join(sorted(config.providers))
            yield ("arms", arm), f"there is no provider {provider!r}; providers: {known}"


def running_faults(engine: Engine, config: Config) -> Iterator[Found]:
    """The places of a configuration that running experiments need, and that it does not have."""
    with read_connection(engine) as connection:
        yield from _needed(connection, config)


def _needed(connection: Connection, config: Config) -> Iterator[Found]:
    for experiment in list_experiments(connection, "running"):
        for arm in experiment.live_arms:
            provider = experiment.design.arms[arm]
            if provider is not None and provider not in config.providers:
                yield ("providers", provider), f"is missing, and arm {arm!r} of {_named(experiment)} asks it"
        place = experiment.design.place
        if place.page is not None and not has_place(config, place):
            yield (
                ("pages", place.page),
                f"has no section {place.section!r}, at which {_named(experiment)} runs",
            )


def has_place(config: Config, place: Place) -> bool:
    if place.page is None:
        return True
    page = config.pages.get(place.page)
    return page is not None and any(section.name == place.section for section in page.sections)


def _target_faults(config: Config, place: Place) -> Iterator[Found]:
    page = config.pages.get(place.page or "")
    if page is None:
        known = ", ".join(sorted(config.pages)) or "none"
        yield ("target", "page"), f"there is no page {place.page!r}; pages: {known}"
    elif not has_place(config, place):
        known = ", ".join(section.name for section in page.sections)
        yield (
            ("target", "section"),
            f"page {place.page!r} has no section {place.section!r}; sections: {known}",
        )


def _named(experiment: Experiment) -> str:
    return f"the running experiment {experiment.name!r} (to end it: experiments stop {experiment.name})"


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
