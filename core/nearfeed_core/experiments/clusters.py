"""Means and ratios over units (readers) that bring several outcomes each, from sums without any id.

A unit's outcomes depend on each other, so the unit is what is counted: the variance of a ratio such as
clicks / impressions is that of its linearisation by unit (the delta method; Deng, Knoblich and Lu,
Applying the Delta Method in Metric Analytics, KDD 2018). A mean per unit is a ratio with denominators of 1.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
COLUMNS = ("numerator", "denominator", "earlier_numerator", "earlier_denominator")


@dataclass(frozen=True)
class UnitSums:
    """Sums over units of the four COLUMNS and of the products of each two.

    The earlier ones are of before the experiment.
    """

    units: int
    totals: tuple[float, ...]
    products: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Estimate:
    """A mean or ratio over `units`, and the variance of that mean."""

    units: int
    mean: float
    variance: float

    @property
    def error(self) -> float:
        """The standard error, in the unit of the mean."""
        return sqrt(self.variance)

    @property
    def unit_variance(self) -> float:
        """What one unit adds to the variance of the logarithm of the mean; infinite at a mean of 0."""
        return self.units * self.variance / self.mean**2 if self.mean else float("inf")


def sums_of(
    numerator: ArrayLike,
    denominator: ArrayLike | None = None,
    earlier_numerator: ArrayLike | None = None,
    earlier_denominator: ArrayLike | None = None,
) -> UnitSums:
    """The sums of arrays (units); without denominators they are means per unit.

    Without an earlier numerator there is none to adjust by. Raises ValueError on different lengths.
    """
    top = np.asarray(numerator, np.float64)
    none, ones = np.zeros_like(top), np.ones_like(top)
    earlier = none if earlier_numerator is None else np.asarray(earlier_numerator, np.float64)
    below = none if earlier_numerator is None else ones
    columns = np.stack(
        [
            top,
            ones if denominator is None else np.asarray(denominator, np.float64),
            earlier,
            below if earlier_denominator is None else np.asarray(earlier_denominator, np.float64),
        ]
    )
    return _packed(top.size, columns.sum(axis=1), columns @ columns.T)


def sums_from(document: Mapping[str, Any]) -> UnitSums:
    """What `dataclasses.asdict` and JSON have made of sums."""
    return _packed(document["units"], np.asarray(document["totals"]), np.asarray(document["products"]))


def merged(parts: Iterable[UnitSums]) -> UnitSums:
    """The sums of all the units of several parts, which share none."""
    found = list(parts)
    totals = sum((np.asarray(part.totals) for part in found), np.zeros(4))
    products = sum((np.asarray(part.products) for part in found), np.zeros((4, 4)))
    return _packed(sum(part.units for part in found), totals, products)


def summed_by(units: NDArray[Any], *columns: ArrayLike) -> tuple[Values, ...]:
    """Each column (rows) summed by unit (rows of any type), in the order of the sorted units."""
    names, places = np.unique(units, return_inverse=True)
    return tuple(
        np.bincount(places, np.asarray(column, np.float64), minlength=len(names)).astype(np.float64)
        for column in columns
    )


def ratio(sums: UnitSums) -> Estimate | None:
    """Numerators by denominators; None with fewer than 2 units or denominators of 0 in all."""
    if sums.units < 2 or not sums.totals[1]:
        return None
    mean = sums.totals[0] / sums.totals[1]
    return Estimate(sums.units, mean, covariance(sums)[0, 0] / sums.units)


def covariance(sums: UnitSums) -> Values:
    """(2, 2): of the units' linearised ratio and of their linearised earlier ratio; 0 where there is none."""
    totals = np.asarray(sums.totals)
    weights = np.zeros((2, 4))
    for row, (top, below) in enumerate(((0, 1), (2, 3))):
        if totals[below]:
            mean_below = totals[below] / sums.units
            weights[row, [top, below]] = 1 / mean_below, -totals[top] / totals[below] / mean_below
    found = weights @ np.asarray(sums.products) @ weights.T / (sums.units - 1)
    np.fill_diagonal(found, np.maximum(np.diag(found), 0))
    return np.asarray(found, np.float64)


def _packed(units: int, totals: Values, products: Values) -> UnitSums:
    return UnitSums(
        int(units),
        tuple(float(value) for value in totals),
        tuple(tuple(float(value) for value in row) for row in products),
    )
