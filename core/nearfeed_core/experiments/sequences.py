"""Intervals that hold at all times at once, so that an experiment may be watched and stopped at any look.

Asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit
theory and asymptotic confidence sequences, Annals of Statistics 2024) with Robbins' normal mixture. Their
clock is the information, 1 / variance of the estimate, and not the number of units: it runs both when new
readers come and when known ones come back, and for estimates whose increments of information are independent
the sequence is that of a Brownian motion. With tau = rho^2 / variance the interval is

    estimate +- sqrt(variance * (1 + 1 / tau) * log((1 + tau) / alpha^2)).

rho is in relative units (the standard deviation of the lifts that are thought likely), so that one tuning
fits every metric. Being asymptotic, no interval is given before `least_units` units in each arm, and while
the relative standard error is above `largest_error`.
"""

from dataclasses import dataclass
from math import exp, expm1, log, log1p, sqrt
from statistics import NormalDist

from nearfeed_core.experiments.clusters import Estimate

ALPHA = 0.05
LEAST_UNITS = 100
LARGEST_ERROR = 0.25
POWER = 0.8


@dataclass(frozen=True)
class Tuning:
    """alpha is the chance that a sequence ever leaves out the truth; rho says when it is narrowest."""

    rho: float
    alpha: float = ALPHA
    least_units: int = LEAST_UNITS
    largest_error: float = LARGEST_ERROR


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds, and an always-valid p-value of that there is nothing."""

    estimate: float
    low: float
    high: float
    p_value: float

    @property
    def sign(self) -> int:
        """1 where the interval lies above 0, -1 where it lies below, 0 where it holds 0."""
        return int(self.low > 0) - int(self.high < 0)


def tuned_for(lift: float, *, alpha: float = ALPHA, power: float = POWER) -> Tuning:
    """Narrowest where a last look would find `lift` (0.05 is 5 %) with this power.

    Raises ValueError unless lift is above -1 and not 0, and alpha and power are between 0 and 1.
    """
    _check(alpha, power)
    effect = abs(log_lift(lift))
    error = effect / (sqrt(_narrowest(alpha)) + NormalDist().inv_cdf(power))
    return Tuning(error * sqrt(_narrowest(alpha) - 1), alpha)


def tuned_for_units(units: int, unit_variance: float, *, alpha: float = ALPHA) -> Tuning:
    """Narrowest at `units` in each of two arms, for a metric's `Estimate.unit_variance`."""
    _check(alpha, POWER)
    return Tuning(sqrt((_narrowest(alpha) - 1) * 2 * unit_variance / units), alpha)


def mean_interval(arm: Estimate | None, tuning: Tuning) -> Interval | None:
    """Of one arm's mean; None where there is too little to say."""
    if arm is None or not _enough(tuning, arm):
        return None
    return _interval(arm.mean, arm.variance, arm.mean**2, tuning)


def difference(control: Estimate | None, treatment: Estimate | None, tuning: Tuning) -> Interval | None:
    """Treatment less control, in the metric's unit; None where there is too little to say."""
    if control is None or treatment is None:
        return None
    units = control.units + treatment.units
    mean = (control.units * control.mean + treatment.units * treatment.mean) / units
    variance = (control.units**2 * control.variance + treatment.units**2 * treatment.variance) / units**2
    if min(control.units, treatment.units) < tuning.least_units:
        return None
    if not _enough(tuning, Estimate(units, mean, variance)):
        return None
    both = control.variance + treatment.variance
    return _interval(treatment.mean - control.mean, both, mean**2, tuning)


def lift(control: Estimate | None, treatment: Estimate | None, tuning: Tuning) -> Interval | None:
    """Treatment by control, less 1 (0.05 is 5 %); None where there is too little to say.

    It is made for the logarithm of the ratio, so that both means must be above 0.
    """
    if control is None or treatment is None or not _enough(tuning, control, treatment):
        return None
    if control.mean <= 0 or treatment.mean <= 0:
        return None
    variance = control.variance / control.mean**2 + treatment.variance / treatment.mean**2
    found = _interval(log(treatment.mean / control.mean), variance, 1.0, tuning)
    return Interval(expm1(found.estimate), expm1(found.low), expm1(found.high), found.p_value)


def multiplier(variance: float, tuning: Tuning) -> float:
    """How many standard errors an interval reaches, at a variance of the relative estimate."""
    tau = tuning.rho**2 / variance
    return sqrt((1 + 1 / tau) * (log1p(tau) - 2 * log(tuning.alpha)))


def log_lift(lift: float) -> float:
    """The logarithm of the ratio. Raises ValueError where that is 0 or none."""
    if lift <= -1 or not lift:
        raise ValueError(f"lift is {lift}, but only one above -1 that is not 0 can be looked for")
    return log1p(lift)


def _enough(tuning: Tuning, *arms: Estimate) -> bool:
    return all(
        arm.units >= tuning.least_units and 0 < arm.variance <= (tuning.largest_error * arm.mean) ** 2
        for arm in arms
    )


def _interval(estimate: float, variance: float, scale: float, tuning: Tuning) -> Interval:
    """`scale` is the square of what a relative effect of 1 is in the unit of the estimate."""
    relative = variance / scale
    margin = sqrt(variance) * multiplier(relative, tuning)
    tau = tuning.rho**2 / relative
    evidence = estimate**2 / variance * tau / (1 + tau) - log1p(tau)
    return Interval(estimate, estimate - margin, estimate + margin, min(1.0, exp(-evidence / 2)))


def _narrowest(alpha: float) -> float:
    """1 + tau at which the multiplier is least; its square is then the same number.

    The root of u - 1 = log(u) - 2 log(alpha) above 1, which Newton's steps from above find.
    """
    found = 2 - 4 * log(alpha)
    for _ in range(20):
        found -= (found - 1 - log(found) + 2 * log(alpha)) / (1 - 1 / found)
    return found


def _check(alpha: float, power: float) -> None:
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}, but it must be between 0 and 1")
