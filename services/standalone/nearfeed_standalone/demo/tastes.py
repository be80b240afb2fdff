"""The tastes of simulated readers, from held-out ratings alone: no model has a part in them, nor what it saw.

A film that a reader liked among their held-out ratings is to their taste. How far any other is comes of a
logistic regression over its tags, its decade and how many readers liked it among the held-out ratings:
first one for all readers, then one for each that starts from it (a Gaussian prior around its weights).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from nearfeed_standalone.demo.films import LIKED_FROM

Floats = NDArray[np.float64]
_DRAWN = 4  # films for each held-out rating that the reader did not rate there, as examples of no taste
_STIFFNESS = 3.0  # of a reader's weights, in examples
_SHARED_STIFFNESS = 1.0


@dataclass(frozen=True)
class Tastes:
    """How far each film is to each reader's taste, from 0 to 1: `values` has a row per reader."""

    readers: tuple[str, ...]
    places: dict[str, int]
    values: NDArray[np.float32]

    def of(self, number: int, item_ids: Sequence[str]) -> Floats:
        """Of the reader `number` for posts; 0 for one that is no film, as one that was written since."""
        row = self.values[number]
        return np.array([row[self.places[item]] if item in self.places else 0.0 for item in item_ids], float)


def tastes_of(held_out: pl.DataFrame, films: pl.DataFrame, seed: int = 0) -> Tastes:
    """Tastes of all readers of the held-out ratings, for all films.

    `held_out` has userId, movieId and rating, `films` item_id, tags and author_id, as they are imported.
    """
    places = {item: place for place, item in enumerate(films["item_id"])}
    with threadpool_limits(1, "blas"):  # the products are too small to be shared out
        return _tastes(held_out, films, places, np.random.default_rng(seed))


def _tastes(
    held_out: pl.DataFrame, films: pl.DataFrame, places: dict[str, int], draw: np.random.Generator
) -> Tastes:
    features = _features(films, _readers_who_like(held_out, places))
    examples = {
        str(reader): _examples(rated, places, draw)
        for (reader,), rated in held_out.sort("userId", "movieId").group_by("userId", maintain_order=True)
    }
    shared = _shared_weights(features, examples.values())
    values = [_values(features, shared, *example) for example in examples.values()]
    return Tastes(tuple(examples), places, np.array(values, np.float32).reshape(-1, len(places)))


def fitted(features: Floats, labels: Floats, prior: Floats, stiffness: float) -> Floats:
    """Weights of the logistic regression with a Gaussian prior around `prior`, of precision `stiffness`."""

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits, away = features @ weights, weights - prior
        value = np.sum(np.logaddexp(0, logits) - labels * logits) + stiffness / 2 * away @ away
        return float(value), features.T @ (expit(logits) - labels) + stiffness * away

    return np.asarray(minimize(loss, prior, jac=True, method="L-BFGS-B").x)


def _readers_who_like(held_out: pl.DataFrame, places: dict[str, int]) -> Floats:
    liked = held_out.filter(pl.col("rating") >= LIKED_FROM)["movieId"].cast(pl.String)
    return np.bincount([places[item] for item in liked], minlength=len(places)).astype(float)


def _features(films: pl.DataFrame, likers: Floats) -> Floats:
    """A row per film: one, its tags and decade, and the logarithm of how many readers like it."""
    tags_of = films["tags"].to_list()
    tags = sorted({tag for some in tags_of for tag in some})
    decades = [author[:-1] for author in films["author_id"]]  # of films-of-1995: films-of-199
    columns = [np.ones(len(films))]
    columns += [np.array([tag in some for some in tags_of], float) for tag in tags]
    columns += [np.array([decade == one for one in decades], float) for decade in sorted(set(decades))]
    return np.column_stack([*columns, np.log1p(likers)])


def _examples(
    rated: pl.DataFrame, places: dict[str, int], draw: np.random.Generator
) -> tuple[NDArray[np.intp], Floats]:
    """Places of films with labels: 1 for what was liked, 0 for what else was rated and for some drawn."""
    there = np.array([places[str(item)] for item in rated["movieId"]], np.intp)
    others = np.setdiff1d(np.arange(len(places), dtype=np.intp), there)
    drawn = draw.choice(others, min(len(others), _DRAWN * len(there)), replace=False)
    liked = (rated["rating"] >= LIKED_FROM).to_numpy().astype(float)
    return np.concatenate([there, drawn]), np.concatenate([liked, np.zeros(len(drawn))])


def _shared_weights(features: Floats, examples: Iterable[tuple[NDArray[np.intp], Floats]]) -> Floats:
    some = list(examples)
    start = np.zeros(features.shape[1])
    if not some:
        return start
    there = np.concatenate([places for places, _ in some])
    return fitted(features[there], np.concatenate([labels for _, labels in some]), start, _SHARED_STIFFNESS)


def _values(features: Floats, shared: Floats, there: NDArray[np.intp], labels: Floats) -> Floats:
    values = expit(features @ fitted(features[there], labels, shared, _STIFFNESS))
    values[there[labels == 1]] = 1.0
    return np.asarray(values)
