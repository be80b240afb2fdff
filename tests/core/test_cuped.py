import numpy as np
import pytest

from nearfeed_core.experiments.clusters import UnitSums, ratio, sums_of
from nearfeed_core.experiments.cuped import adjusted


def arms_of(rng: np.random.Generator, n: int, lift: float = 0.0) -> dict[str, UnitSums]:
    found = {}
    for name, times in (("control", 1.0), ("new", 1 + lift)):
        taste = rng.beta(2, 8, n)
        shown, shown_before = rng.poisson(20, n) + 1, rng.poisson(20, n) * (rng.random(n) < 0.8)
        clicks, before = rng.binomial(shown, taste * times), rng.binomial(shown_before, taste)
        found[name] = sums_of(clicks, shown, before, shown_before)
    return found


def difference(arms: dict[str, UnitSums]) -> tuple[float, float, float, float]:
    """Adjusted difference and its variance, and the plain ones."""
    estimates = adjusted(arms).estimates
    one, two = estimates["control"], estimates["new"]
    plain_one, plain_two = ratio(arms["control"]), ratio(arms["new"])
    assert one is not None
    assert two is not None
    assert plain_one is not None
    assert plain_two is not None
    plain = plain_one.variance + plain_two.variance
    return two.mean - one.mean, one.variance + two.variance, plain_two.mean - plain_one.mean, plain


def test_what_readers_did_before_takes_variance_away_and_leaves_the_difference() -> None:
    rng = np.random.default_rng(0)
    found = np.array([difference(arms_of(rng, 400, 0.1)) for _ in range(600)])
    differences, variances, plain_differences, plain_variances = found.T
    assert variances.mean() < 0.8 * plain_variances.mean()
    assert differences.var() == pytest.approx(variances.mean(), rel=0.2)
    assert differences.mean() == pytest.approx(0.02, abs=4 * np.sqrt(variances.mean() / 600))
    assert plain_differences.var() > differences.var()


def test_for_means_it_is_the_regression_on_the_covariate_within_arms() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(5, 2, (2, 300))
    after = 3 * before + rng.normal(0, 1, (2, 300)) + np.array([[0.0], [0.5]])
    arms = {str(arm): sums_of(after[arm], None, before[arm]) for arm in range(2)}
    found = adjusted(arms)
    centred = before - before.mean(axis=1, keepdims=True)
    slope = (centred * after).sum() / (centred**2).sum()
    assert found.theta == pytest.approx(slope)
    estimates = [found.estimates[str(arm)] for arm in range(2)]
    for arm, estimate in enumerate(estimates):
        assert estimate is not None
        residuals = after[arm] - slope * before[arm]
        assert estimate.mean == pytest.approx(residuals.mean() + slope * before.mean())
        assert estimate.variance == pytest.approx(residuals.var(ddof=1) / 300)
    assert found.removed > 0.95


def test_without_earlier_data_the_plain_ratios_stay() -> None:
    arms = {"a": sums_of([1, 2, 3], [4, 5, 6]), "b": sums_of([1, 0, 3], [4, 5, 6]), "empty": sums_of([], [])}
    found = adjusted(arms)
    assert (found.theta, found.removed) == (0.0, 0.0)
    assert found.estimates == {name: ratio(sums) for name, sums in arms.items()}


def test_an_arm_that_nobody_is_in_yet_has_no_estimate() -> None:
    arms = {**arms_of(np.random.default_rng(2), 50), "empty": sums_of([], [])}
    found = adjusted(arms)
    assert found.estimates["empty"] is None
    assert found.theta > 0
