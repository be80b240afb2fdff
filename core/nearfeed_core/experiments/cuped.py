"""Less variance by what readers did before the experiment.

CUPED (Deng, Xu, Kohavi and Walker, Improving the Sensitivity of Online Controlled Experiments by Utilizing
Pre-Experiment Data, WSDM 2013) on linearised metrics, so that it holds for ratios too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from nearfeed_core.experiments.clusters import Estimate, UnitSums, covariance, merged, ratio


@dataclass(frozen=True)
class Adjustment:
    """Estimates by arm. `removed` is the share of the variance that is gone, 0 without earlier data.

    The differences between arms have the sum of the arms' variances. An arm's own mean has more, since it
    is moved to the mean that all arms had before: show `ratio` for an arm by itself.
    """

    theta: float
    removed: float
    estimates: dict[str, Estimate | None]


def adjusted(arms: Mapping[str, UnitSums]) -> Adjustment:
    """Each arm's ratio less theta times how far its earlier ratio lies from that of all arms.

    theta is the slope of the ratio on the earlier one, within arms. A reader without earlier data has
    zeros, and so is not moved.
    """
    there = [sums for sums in arms.values() if ratio(sums)]
    parts = [(sums.units, covariance(sums)) for sums in there]
    plain = sum(units * found[0, 0] for units, found in parts)
    common = sum(units * found[0, 1] for units, found in parts)
    earlier = sum(units * found[1, 1] for units, found in parts)
    if plain <= 0 or earlier <= 0:
        return Adjustment(0.0, 0.0, {name: ratio(sums) for name, sums in arms.items()})
    theta = float(common / earlier)
    middle = _earlier(merged(there))
    estimates = {name: _moved(sums, theta, middle) for name, sums in arms.items()}
    return Adjustment(theta, float(common**2 / earlier / plain), estimates)


def _moved(sums: UnitSums, theta: float, middle: float) -> Estimate | None:
    plain = ratio(sums)
    if plain is None:
        return None
    if not sums.totals[3]:
        return plain
    found = covariance(sums)
    variance = max(0.0, float(found[0, 0] - 2 * theta * found[0, 1] + theta**2 * found[1, 1]))
    return Estimate(sums.units, plain.mean - theta * (_earlier(sums) - middle), variance / sums.units)


def _earlier(sums: UnitSums) -> float:
    return sums.totals[2] / sums.totals[3]
