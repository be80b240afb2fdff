"""Simulated experiments of which readers come back: many at once, as the sums of each day so far.

Readers differ in how often they come (gamma) and in how often they click (beta). A part is there on the
first day, the others come on a day by lot, and all may come back every day after. What a reader does
before the experiment, the same way over `earlier_days`, is what CUPED adjusts by; only those of the first
day have it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.experiments.clusters import UnitSums

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Community:
    """Readers in each of two arms, and what they are like.

    `visits` is the mean number of impressions a day, `rate` the mean chance of a click; a smaller `activity`
    and `taste` (the shape of the gamma and the a + b of the beta) make readers differ more.
    """

    readers: int
    days: int = 28
    there: float = 0.3
    visits: float = 2.0
    activity: float = 1.0
    rate: float = 0.2
    taste: float = 10.0
    earlier_days: int = 14


def watched(
    community: Community, *, experiments: int, lift: float = 0.0, per_reader: bool = False, seed: int = 0
) -> Iterator[list[tuple[UnitSums, UnitSums]]]:
    """After each day, control and treatment of every experiment; treatment clicks `lift` times more often.

    The metric is clicks / impressions by reader, or `per_reader` clicks per reader who has been seen.
    """
    rng = np.random.default_rng(seed)
    shape = (experiments, 2, community.readers)
    arrival = rng.integers(1, community.days, shape) * (rng.random(shape) >= community.there)
    visits = community.visits * rng.gamma(community.activity, 1 / community.activity, shape)
    rate = rng.beta(community.rate * community.taste, (1 - community.rate) * community.taste, shape)
    columns = np.zeros((4, *shape))
    before = community.earlier_days * visits * (arrival == 0)
    _seen(rng, columns[2:], before, rate)
    rate[:, 1] = np.minimum(1, rate[:, 1] * (1 + lift))
    for day in range(community.days):
        _seen(rng, columns[:2], visits * (arrival <= day), rate)
        yield _sums(_per_reader(columns) if per_reader else columns, columns[1] > 0)


def _seen(rng: np.random.Generator, columns: Values, visits: Values, rate: Values) -> None:
    """Adds clicks and impressions; a Poisson number of impressions falls apart into two such numbers."""
    clicks = rng.poisson(visits * rate)
    columns[0] += clicks
    columns[1] += clicks + rng.poisson(visits * (1 - rate))


def _per_reader(columns: Values) -> Values:
    there = (columns[1] > 0).astype(np.float64)
    return np.stack([columns[0], there, columns[2] * there, there])


def _sums(columns: Values, there: NDArray[np.bool_]) -> list[tuple[UnitSums, UnitSums]]:
    counted = np.moveaxis(columns * there, 0, 2)
    totals = counted.sum(axis=3)
    products = counted @ counted.swapaxes(2, 3)
    units = there.sum(axis=2)
    parts = [
        [
            UnitSums(int(n), tuple(total), tuple(map(tuple, product)))
            for n, total, product in zip(*arms, strict=True)
        ]
        for arms in zip(units.tolist(), totals.tolist(), products.tolist(), strict=True)
    ]
    return [(control, treatment) for control, treatment in parts]
