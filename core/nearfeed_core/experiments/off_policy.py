"""What a provider would have earned, from what was logged while others were served.

An action was logged with the propensity with which it was taken; the target policy would have taken it
with another probability. Each estimator is a ratio of sums over requests, and its interval counts readers
and not requests, for those of one reader depend on each other (the delta method, as in `clusters`). The
interval is for one look at a closed log, not for watching.
"""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.experiments.clusters import ratio, summed_by, sums_of

Values = NDArray[np.float64]
LEVEL = 0.95


class OffPolicyError(NearfeedError):
    """A log of which no value can be told."""


@dataclass(frozen=True)
class Logged:
    """Requests (rows): whose, the propensity and the target's probability of the action, the reward.

    For `doubly_robust` also a model's rewards: `predicted` of the action that was taken, `expected` over the
    actions by the target's probabilities.
    """

    readers: NDArray[Any]
    propensities: Values
    targets: Values
    rewards: Values
    predicted: Values | None = None
    expected: Values | None = None


@dataclass(frozen=True)
class Value:
    """A mean reward per request with its interval, and how many requests the weighted ones are worth."""

    estimate: float
    low: float
    high: float
    effective_size: float
    requests: int
    readers: int


def ips(logged: Logged, *, level: float = LEVEL) -> Value:
    """Inverse propensity scoring (Horvitz and Thompson, JASA 1952): unbiased, and noisy for far targets."""
    weights = weights_of(logged)
    return _value(logged, weights * logged.rewards, np.ones_like(weights), level)


def snips(logged: Logged, *, level: float = LEVEL) -> Value:
    """Self-normalised (Swaminathan and Joachims, NIPS 2015): by the sum of the weights, less noise."""
    weights = weights_of(logged)
    return _value(logged, weights * logged.rewards, weights, level)


def doubly_robust(logged: Logged, *, level: float = LEVEL) -> Value:
    """The model's value and the weighted errors of it (Dudík, Langford and Li, ICML 2011).

    Right where either the propensities or the model are. Raises OffPolicyError without a model.
    """
    if logged.predicted is None or logged.expected is None:
        raise OffPolicyError(
            "doubly robust needs `predicted` and `expected`; use ips or snips without a model"
        )
    weights = weights_of(logged)
    values = logged.expected + weights * (logged.rewards - logged.predicted)
    return _value(logged, values, np.ones_like(weights), level)


def weights_of(logged: Logged) -> Values:
    """(rows): target by propensity. Raises OffPolicyError where a propensity is not above 0."""
    if not (logged.propensities > 0).all():
        raise OffPolicyError("a logged propensity is not above 0; evaluate only requests that a bandit drew")
    return np.asarray(logged.targets / logged.propensities, np.float64)


def effective_size(weights: Values) -> float:
    """How many requests of equal weight would tell as much (Kish, Survey Sampling, 1965)."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _value(logged: Logged, numerator: Values, denominator: Values, level: float) -> Value:
    sums = sums_of(*summed_by(logged.readers, numerator, denominator))
    found = ratio(sums)
    if found is None:
        raise OffPolicyError(
            "no value can be told: the log needs two readers, and actions that the target takes too"
        )
    reach = NormalDist().inv_cdf((1 + level) / 2) * sqrt(found.variance)
    size = effective_size(weights_of(logged))
    return Value(found.mean, found.mean - reach, found.mean + reach, size, len(logged.rewards), found.units)
