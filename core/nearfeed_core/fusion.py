"""Several rankings become one: the same code serves a provider and evaluates it."""

from collections.abc import Iterable, Mapping


def fused(
    rankings: Mapping[str, Iterable[str]], weights: Mapping[str, float], k: float = 60.0
) -> dict[str, float]:
    """Scores by item, best first: the sum of weight / (k + rank) over the rankings that have it.

    Ranks count from 1; ties go by item. Weighted reciprocal-rank fusion, Cormack et al., SIGIR 2009.
    """
    scores: dict[str, float] = {}
    for name, ranking in rankings.items():
        weight = weights[name]
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + weight / (k + rank)
    best_first = sorted(sorted(scores), key=scores.__getitem__, reverse=True)
    return {item: scores[item] for item in best_first}
