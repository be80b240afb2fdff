"""Models by name: baselines with their settings, such as `als:factors=64,alpha=5`, and runs."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearfeed_contracts.errors import NearfeedError, NotFoundError
from nearfeed_contracts.fields import from_micros, to_micros
from nearfeed_contracts.runs import Run, open_run, run_url
from nearfeed_embedder.baselines.als import als
from nearfeed_embedder.baselines.ease import ease
from nearfeed_embedder.baselines.item_knn import item_knn, item_knn_bm25
from nearfeed_embedder.baselines.popularity import popularity, recent_popularity
from nearfeed_embedder.baselines.text import text
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.evaluation.towers import tower_of
from nearfeed_embedder.evaluation.vectors import Vectors, by_vectors

BASELINES: dict[str, Callable[..., Scorer]] = {
    "popularity": popularity,
    "recent-popularity": recent_popularity,
    "item-knn": item_knn,
    "item-knn-bm25": item_knn_bm25,
    "als": als,
    "ease": ease,
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


class LeakyRunError(NearfeedError):
    """A run that has learned from what it would be asked to find."""


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
    name, _, settings = asked.partition(":")
    if name not in BASELINES:
        return None
    make = BASELINES[name]
    given = dict(_setting(make, name, part) for part in settings.split(",") if part)
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


def open_model(runs_url: str, asked: str) -> Run:
    """The run of a name in the store, or of a folder or URL. Raises UnknownModelError, BrokenRunError."""
    try:
        run = open_run(asked if "/" in asked else run_url(runs_url, asked))
    except NotFoundError:
        raise UnknownModelError(
            f"{asked} is neither a run in {runs_url}, nor a run's folder, nor one of the baselines "
            f"{', '.join(BASELINES)}."
        ) from None
    if run.manifest.kind != "vectors":
        raise UnknownModelError(f"{asked} is a run of kind {run.manifest.kind}: only vectors are evaluated.")
    return run


def scorer_of_run(run: Run, split: Split) -> tuple[Scorer, int]:
    """Scores of a run, and how many of the split's candidates it has no vector for; those score -inf.

    Raises LeakyRunError where its data go on after the cut.
    """
    _check_not_leaky(run, split)
    column = {item_id: number for number, item_id in enumerate(split.item_ids)}
    vectors = np.zeros((split.n_items, run.manifest.dim), np.float32)
    contexts, there = np.zeros_like(vectors), np.zeros(split.n_items, np.bool_)
    for batch in run.vector_batches():
        places = np.array([column.get(item_id, -1) for item_id in batch.item_ids], np.intp)
        kept = places >= 0
        vectors[places[kept]], contexts[places[kept]] = batch.vectors[kept], batch.contexts[kept]
        there[places[kept]] = True
    history = split.history.multiply(there[None, :].astype(np.float32)).tocsr()
    history.eliminate_zeros()
    tower = tower_of(run) if run.manifest.tower else None
    score = by_vectors(vectors, contexts, run.manifest.blocks, history, tower=tower)
    return lambda readers: np.where(there, score(readers), np.float32(-np.inf)), int(
        (split.candidates & ~there).sum()
    )


def _check_not_leaky(run: Run, split: Split) -> None:
    last = run.manifest.data.last
    if split.cut is not None and last is not None and to_micros(last) >= split.cut:
        raise LeakyRunError(
            f"Run {run.manifest.space} has learned from readings up to {last:%Y-%m-%d %H:%M} UTC, after "
            "the cut: it has seen what it would be asked to find. Train on what lies before the cut alone: "
            f"nearfeed train --until {from_micros(split.cut).isoformat()}"
        )


def _needed(make: Callable[..., Scorer]) -> list[str]:
    return [
        name
        for name, p in inspect.signature(make).parameters.items()
        if p.kind is not inspect.Parameter.KEYWORD_ONLY
    ]


def _setting(make: Callable[..., Scorer], name: str, part: str) -> tuple[str, Any]:
    key, _, value = part.partition("=")
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
