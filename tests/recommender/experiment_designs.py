"""Designs and statements of experiments for tests."""

from typing import Any

from nearfeed_recommender.config.document import Document
from nearfeed_recommender.config.versions import Statement
from nearfeed_recommender.experiments.lifecycle import ExperimentStore, put_draft, start
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.schema import Design
from nearfeed_recommender.experiments.validation import check_design

SAID = Statement(author="Ann", reason="a test")


def design_of(name: str = "trial", **changes: Any) -> Design:
    """A design at the feed: what is configured against the latest posts."""
    body = {"name": name, "target": "feed", "arms": {"control": None, "latest": "latest"}, **changes}
    return Design.model_validate(body)


def started(store: ExperimentStore, name: str = "trial", **changes: Any) -> Experiment:
    """An experiment that runs."""
    config = store.configuration.live.current.config
    body = design_of(name, **changes).model_dump(mode="json", exclude_unset=True)
    put_draft(store, check_design(Document(body), config), SAID)
    return start(store, name, SAID)
