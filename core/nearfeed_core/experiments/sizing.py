"""How many readers, or days, an experiment needs, by the very sequence by which it is judged.

The power is the chance that the interval leaves out 0 at one of `looks`. The estimate is a Brownian motion
with drift in the clock of the information, looked at in equal steps of it; how much of it stays inside the
bounds is integrated from look to look (Armitage, McPherson and Rowe, JRSS A 1969; Jennison and Turnbull,
Group Sequential Methods, 2000, chapter 19). As rho is in proportion to the lift that is looked for, all
that counts is the drift at the last look, lift / standard error, and one number gives every size.

Where readers come back, information does not come in equal steps, and earlier looks add less to the power. So
by default the last look alone is promised, which holds at any pace: who watches finds more.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, expm1, sqrt

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.experiments.clusters import Estimate
from nearfeed_core.experiments.sequences import (
    ALPHA,
    LEAST_UNITS,
    POWER,
    Tuning,
    log_lift,
    multiplier,
    tuned_for,
)

LOOKS = 1
HALVES = (0.5, 0.5)
_FARTHEST = 9.0
Values = NDArray[np.float64]


def readers_needed(
    lift: float,
    unit_variance: float,
    *,
    shares: Sequence[float] = HALVES,
    alpha: float = ALPHA,
    power: float = POWER,
    looks: int = LOOKS,
) -> int:
    """Readers in both arms together until a lift (0.05 is 5 %) is found with this power.

    `unit_variance` is that of an `Estimate` of the metric over as many days, `shares` are those of control
    and treatment; what matters is their proportion. Never fewer than an interval is given for.
    """
    drift = drift_needed(alpha, power, looks)
    least = LEAST_UNITS * sum(shares) / min(shares)
    return ceil(max(least, (drift / log_lift(lift)) ** 2 * unit_variance * _spread(shares)))


def lift_found(
    readers: int,
    unit_variance: float,
    *,
    shares: Sequence[float] = HALVES,
    alpha: float = ALPHA,
    power: float = POWER,
    looks: int = LOOKS,
) -> float:
    """The least lift above 0 that this many readers in both arms find with this power."""
    return expm1(drift_needed(alpha, power, looks) * sqrt(unit_variance * _spread(shares) / readers))


def days_needed(
    history: Sequence[Estimate | None],
    lift: float,
    *,
    shares: Sequence[float] = HALVES,
    alpha: float = ALPHA,
    power: float = POWER,
    looks: int = LOOKS,
) -> int | None:
    """Days until a lift is found with this power, None if not within the history.

    history[d - 1] is the metric over the first d days of all readers; of those, `shares` go to control and
    treatment. Nothing is extrapolated, for how many new readers come and how often is not known.
    """
    least = (drift_needed(alpha, power, looks) / log_lift(lift)) ** 2
    per_reader = sum(1 / share for share in shares)
    for day, seen in enumerate(history, start=1):
        if seen is not None and seen.units >= least * seen.unit_variance * per_reader:
            return day
    return None


def power_of(
    lift: float,
    readers: int,
    unit_variance: float,
    *,
    tuning: Tuning,
    shares: Sequence[float] = HALVES,
    looks: int = LOOKS,
) -> float:
    """The chance that a lift is found by the time that both arms have this many readers."""
    return crossing(log_lift(lift), unit_variance * _spread(shares) / readers, tuning, looks)


@lru_cache(maxsize=256)
def drift_needed(alpha: float = ALPHA, power: float = POWER, looks: int = LOOKS) -> float:
    """The effect by its standard error at the last look at which it is found with this power."""
    effect, tuning = log_lift(0.01), tuned_for(0.01, alpha=alpha, power=power)
    low, high = 0.0, 20.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        enough = crossing(effect, (effect / middle) ** 2, tuning, looks) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def crossing(effect: float, variance: float, tuning: Tuning, looks: int = LOOKS) -> float:
    """The chance that a relative effect is told from 0 by the look at which its estimate has this variance.

    With an effect of 0 it is the chance of a false alarm.
    """
    clock = np.arange(1, looks + 1) / looks / variance
    held = np.array([multiplier(1 / now, tuning) for now in clock]) * np.sqrt(clock)
    likely = abs(effect) * clock + _FARTHEST * np.sqrt(clock)
    reach = np.minimum(held, likely)
    nodes, weights = _quadrature(32 + ceil(8 * reach[-1] / sqrt(clock[0])))
    places, inside = np.zeros(1), np.ones(1)
    for bound in reach:
        following = bound * nodes
        moved = _density(following[:, None] - places, abs(effect) * clock[0], clock[0])
        places, inside = following, bound * weights * (moved @ inside)
    return float(1 - inside.sum())


@lru_cache(maxsize=8)
def _quadrature(points: int) -> tuple[Values, Values]:
    return np.polynomial.legendre.leggauss(points)


def _density(places: Values, mean: float, variance: float) -> Values:
    found = np.exp(-((places - mean) ** 2) / (2 * variance)) / sqrt(2 * np.pi * variance)
    return np.asarray(found, np.float64)


def _spread(shares: Sequence[float]) -> float:
    return sum(shares) * sum(1 / share for share in shares)
