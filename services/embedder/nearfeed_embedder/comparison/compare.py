"""Means with intervals over readers, and paired gains of one model over another."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from nearfeed_core.bootstrap import Interval, bootstrap_means
from nearfeed_embedder.evaluation.ranking import NDCG, RECALL, Ranking, Values


def intervals(values: Mapping[str, Values]) -> dict[str, Interval]:
    """The mean of each metric (readers) with its 95 % bootstrap interval."""
    found = bootstrap_means(np.stack(list(values.values()), axis=1))
    return dict(zip(values, found, strict=True))


def gains(model: Ranking, reference: Ranking) -> dict[str, Interval]:
    """Paired differences per reader; a model is better where the interval lies above 0."""
    return intervals({name: model.values[name] - reference.values[name] for name in model.values})


def compare(model: str, rankings: Mapping[str, Ranking]) -> dict[str, Any]:
    """A run's metrics: all models with intervals, and the model's paired gains over the others."""
    own = rankings[model]
    return {
        "readers": len(own.readers),
        "models": {name: _as_json(intervals(ranking.values)) for name, ranking in rankings.items()},
        "gains": {name: _as_json(gains(own, ranking)) for name, ranking in rankings.items() if name != model},
    }


def _as_json(found: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: asdict(found[name]) for name in (RECALL, NDCG)}
