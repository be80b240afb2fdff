"""Models by name: baselines with their settings, such as `als:factors=64,alpha=5`, and runs."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nearfeed_contracts.errors import NearfeedError
from nearfeed_embedder.baselines.als import als
from nearfeed_embedder.baselines.ease import ease
from nearfeed_embedder.baselines.item_knn import item_knn, item_knn_bm25
from nearfeed_embedder.baselines.popularity import popularity, recent_popularity
from nearfeed_embedder.baselines.random_walk import random_walk
from nearfeed_embedder.baselines.text import text
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.evaluation.vectors import Vectors
from nearfeed_embedder.named import name_and_settings

BASELINES: dict[str, Callable[..., Scorer]] = {
    "popularity": popularity,
    "recent-popularity": recent_popularity,
    "item-knn": item_knn,
    "item-knn-bm25": item_knn_bm25,
    "als": als,
    "ease": ease,
    "random-walk": random_walk,
    "text": text,
}
DEFAULT = (
    "popularity",
    "recent-popularity",
    "item-knn",
    "item-knn:shrinkage=0",
    "item-knn-bm25",
    "als",
    "ease",
    "text",
    "random-walk",
)
_LACKING = {
    "times": "times of readings, which given lists do not have",
    "cut": "times of readings, which given lists do not have",
    "text_vectors": "titles, which these data do not have: name a file with --items",
}


class UnknownModelError(NearfeedError):
    """A model, or a setting of it, that there is not."""


class UnfitModelError(NearfeedError):
    """A model that cannot be made of these data."""


@dataclass(frozen=True)
class Baseline:
    """A baseline that is named with settings; `name` is as it was asked for."""

    name: str
    make: Callable[..., Scorer]
    settings: Mapping[str, Any]

    def scorer(self, inputs: Mapping[str, Any]) -> Scorer:
        """Raises UnfitModelError where an input is None that it needs."""
        needed = {name: inputs[name] for name in _needed(self.make)}
        for name, value in needed.items():
            if value is None:
                raise UnfitModelError(f"{self.name} needs {_LACKING[name]}.")
        return self.make(**needed, **self.settings)

    @property
    def needs_text(self) -> bool:
        return "text_vectors" in _needed(self.make)


def baseline_of(asked: str) -> Baseline | None:
    """The baseline of a name with settings, None where it is another name. Raises UnknownModelError."""
    name, settings = name_and_settings(asked)
    if name not in BASELINES:
        return None
    make = BASELINES[name]
    given = dict(_setting(make, name, key, value) for key, value in settings)
    return Baseline(asked, make, given)


def inputs_of(split: Split, text_vectors: Vectors | None) -> dict[str, Any]:
    """What baselines may ask for by the names of their parameters."""
    return {
        "train": split.train,
        "history": split.history,
        "times": split.times,
        "cut": split.cut,
        "text_vectors": text_vectors,
    }


def _needed(make: Callable[..., Scorer]) -> list[str]:
    return [
        name
        for name, p in inspect.signature(make).parameters.items()
        if p.kind is not inspect.Parameter.KEYWORD_ONLY
    ]


def _setting(make: Callable[..., Scorer], name: str, key: str, value: str) -> tuple[str, Any]:
    defaults = {
        key: p.default
        for key, p in inspect.signature(make).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    if key not in defaults:
        known = ", ".join(f"{key}={default}" for key, default in defaults.items()) or "none"
        raise UnknownModelError(f"{name} has no setting {key!r}; its settings: {known}.")
    try:
        return key, type(defaults[key])(value)
    except ValueError:
        kind = "a whole number" if isinstance(defaults[key], int) else "a number"
        raise UnknownModelError(f"{name}: {key} must be {kind}, not {value!r}.") from None
