"""What an evaluation found: one line per model, slice, metric and cutoff."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.bootstrap import Interval, bootstrap_means
from nearfeed_embedder.evaluation.ranking import Ranking, rank
from nearfeed_embedder.evaluation.slices import ALL, post_slices, reader_slices
from nearfeed_embedder.evaluation.split import Scorer, Split

COVERAGE = "coverage"


@dataclass(frozen=True)
class Line:
    """`gain` is the paired difference from the reference, None for the reference itself.

    Coverage is one number for all readers of a slice: it has no interval and no gain.
    """

    model: str
    slice: str
    readers: int
    metric: str
    k: int
    value: Interval | float
    gain: Interval | None = None

    @property
    def mean(self) -> float:
        return self.value.mean if isinstance(self.value, Interval) else self.value


def rankings_of(scorer: Scorer, split: Split) -> dict[str, Ranking]:
    """By slice: the ranking of everything, and those for new posts where there are any."""
    return {ALL: rank(scorer, split), **post_slices(scorer, split)}


def lines_of(
    model: str, rankings: Mapping[str, Ranking], reference: Mapping[str, Ranking], split: Split
) -> Iterator[Line]:
    """All lines of a model; gains are over the rankings of `reference`, of the same split."""
    whole = rankings[ALL]
    for name, chosen in reader_slices(split, whole.readers).items():
        yield from _lines(model, name, whole, reference[ALL], chosen)
    for name, ranking in rankings.items():
        everyone = np.ones(len(ranking.readers), np.bool_)
        if name != ALL:
            yield from _lines(model, name, ranking, reference[name], everyone)
        for k, share in ranking.coverage.items():
            yield Line(model, name, len(ranking.readers), COVERAGE, k, share)


def _lines(
    model: str, name: str, ranking: Ranking, reference: Ranking, chosen: NDArray[np.bool_]
) -> Iterator[Line]:
    readers = int(chosen.sum())
    if not readers:
        return
    own = np.stack([values[chosen] for values in ranking.values.values()], axis=1)
    other = np.stack([values[chosen] for values in reference.values.values()], axis=1)
    found = bootstrap_means(np.concatenate([own, own - other], axis=1))
    is_reference = ranking is reference
    for place, metric_at in enumerate(ranking.values):
        metric, _, k = metric_at.partition("@")
        gain = None if is_reference else found[own.shape[1] + place]
        yield Line(model, name, readers, metric, int(k), found[place], gain)
