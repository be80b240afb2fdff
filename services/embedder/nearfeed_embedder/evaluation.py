"""Recall and NDCG by full ranking, with what a reader has read masked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.runs import Block
from nearfeed_core.metrics import bootstrap_mean, ndcg_at, recall_at, top_k
from nearfeed_core.pooling import pool_reader
from nearfeed_core.splits import TimeSplit
from nearfeed_embedder.dataset import Readings, Rows, Weights, profile

K = 20
RECALL = f"recall@{K}"
NDCG = f"ndcg@{K}"
Vectors = NDArray[np.float32]
Scores = NDArray[np.float64]
_CASES_AT_ONCE = 64


@dataclass(frozen=True)
class Case:
    """A reader by what they had read, with the weights that are served, and what they read then."""

    items: Rows
    weights: Weights
    seen: Rows
    relevant: frozenset[int]


Scorer = Callable[[Sequence[Case]], NDArray[np.float32]]


@dataclass(frozen=True)
class Ranking:
    """One value per reader."""

    recall: Scores
    ndcg: Scores


def cases_of(readings: Readings, split: TimeSplit, half_life_days: float) -> list[Case]:
    return [
        Case(
            *profile(readings, held_out.past, half_life_days),
            seen=readings.item[held_out.past],
            relevant=frozenset(readings.item[held_out.targets].tolist()),
        )
        for held_out in split.held_out
    ]


def by_vectors(vectors: Vectors, contexts: Vectors, blocks: Sequence[Block]) -> Scorer:
    """Inner products of posts (n, dim) with readers, who are pooled as they are when served."""

    def score(cases: Sequence[Case]) -> NDArray[np.float32]:
        readers = [pool_reader(contexts[case.items], case.weights.tolist(), blocks) for case in cases]
        return np.asarray(np.stack(readers).astype(np.float32) @ vectors.T)

    return score


def rank(scorer: Scorer, cases: Sequence[Case], known: NDArray[np.bool_]) -> Ranking:
    """Ranks the `known` posts that a reader has not read, for every reader."""
    recall, ndcg = [], []
    for start in range(0, len(cases), _CASES_AT_ONCE):
        part = cases[start : start + _CASES_AT_ONCE]
        scores = scorer(part)
        scores[:, ~known] = -np.inf
        for row, case in zip(scores, part, strict=True):
            ranked = top_k(row, case.seen, K)
            recall.append(recall_at(ranked, case.relevant, K))
            ndcg.append(ndcg_at(ranked, case.relevant, K))
    return Ranking(np.array(recall), np.array(ndcg))


def compare(model: str, rankings: Mapping[str, Ranking]) -> dict[str, Any]:
    """Means with 95 % intervals over readers, and the model's paired gains over the others."""
    own = rankings[model]
    return {
        "readers": len(own.recall),
        "models": {name: _intervals(ranking) for name, ranking in rankings.items()},
        "gains": {
            name: _intervals(Ranking(own.recall - other.recall, own.ndcg - other.ndcg))
            for name, other in rankings.items()
            if name != model
        },
    }


def _intervals(ranking: Ranking) -> dict[str, dict[str, float]]:
    return {
        RECALL: asdict(bootstrap_mean(ranking.recall)),
        NDCG: asdict(bootstrap_mean(ranking.ndcg)),
    }
