"""How well scores order the posts of each group."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nearfeed_core import metrics
from nearfeed_core.bootstrap import bootstrap_means
from nearfeed_embedder.evaluation.ranking import NDCG, RECALL, K
from nearfeed_embedder.rankers.examples import Group, Table

AUC = "auc"
Scores = NDArray[np.float32]
Values = dict[str, NDArray[np.float64]]


def measured(scores: Scores, table: Table) -> Values:
    """Recall and NDCG at 20 and AUC of each group (groups).

    Scores are (rows), ties go by the order of rows.
    """
    groups = [(scores[rows], table.read[rows] > 0) for rows in table.slices]
    hits = np.zeros((len(groups), K), np.bool_)
    for row, (own, read) in enumerate(groups):
        best = np.argsort(-own, kind="stable")[:K]
        hits[row, : len(best)] = read[best]
    relevant = np.array([read.sum() for _, read in groups], np.intp)
    return {
        RECALL: metrics.recall(hits, relevant, K),
        NDCG: metrics.ndcg(hits, relevant, K),
        AUC: np.array([auc(own, read) for own, read in groups]),
    }


def auc(scores: Scores, read: NDArray[np.bool_]) -> float:
    """How often a post that was read scores above one that was not, ties half (Mann and Whitney, 1947)."""
    positive = int(read.sum())
    above = rankdata(scores)[read].sum() - positive * (positive + 1) / 2
    return float(above / (positive * (len(read) - positive)))


def given_order(groups: Sequence[Group]) -> Scores:
    """Scores (rows) by which each group stays in the order in which it is."""
    return np.concatenate([-np.arange(len(group.posts), dtype=np.float32) for group in groups])


def by_readers(groups: Sequence[Group]) -> Scores:
    """The number of readers of each post (rows)."""
    return np.array([post.readers for group in groups for post in group.posts], np.float32)


def summary(model: str, found: Mapping[str, Values]) -> dict[str, object]:
    """The metrics of a manifest: means with 95 % intervals over groups, and paired gains over the others."""
    others = {name: values for name, values in found.items() if name != model}
    gains = {
        name: {metric: found[model][metric] - values[metric] for metric in values}
        for name, values in others.items()
    }
    return {
        "readers": len(next(iter(found[model].values()))),
        "models": {name: _intervals(values) for name, values in found.items()},
        "gains": {name: _intervals(values) for name, values in gains.items()},
    }


def _intervals(values: Values) -> dict[str, dict[str, float]]:
    drawn = bootstrap_means(np.stack(list(values.values()), axis=1))
    return {
        name: {"mean": interval.mean, "low": interval.low, "high": interval.high}
        for name, interval in zip(values, drawn, strict=True)
    }
