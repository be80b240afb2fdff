from dataclasses import replace
from math import log, log1p, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm

from nearfeed_core.experiments.clusters import Estimate
from nearfeed_core.experiments.sequences import (
    Tuning,
    difference,
    lift,
    mean_interval,
    multiplier,
    tuned_for,
    tuned_for_units,
)

TUNING = tuned_for(0.05)
means = st.floats(0.01, 100)
errors = st.floats(0.001, 0.2)


@given(means, means, errors, errors, st.floats(0.01, 0.2))
def test_the_p_value_is_the_alpha_at_which_the_interval_touches_0(
    one: float, two: float, error: float, other: float, alpha: float
) -> None:
    control, treatment = Estimate(500, one, (one * error) ** 2), Estimate(500, two, (two * other) ** 2)
    tuning = replace(TUNING, alpha=alpha)
    for interval in (lift(control, treatment, tuning), difference(control, treatment, tuning)):
        if interval is not None:
            assert (interval.p_value < alpha) == (interval.sign != 0)
            assert interval.low < interval.estimate < interval.high


@given(st.floats(1e-3, 1e3), st.floats(0.001, 0.3))
def test_it_is_the_published_boundary_in_other_letters(tau: float, alpha: float) -> None:
    """Equation (1) of Waudby-Smith et al. at t = 1 000 units of variance 1, rho^2 = tau / t."""
    t = 1_000
    rho2 = tau / t
    published = sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * log(sqrt(t * rho2 + 1) / alpha))
    ours = multiplier(1 / t, Tuning(sqrt(rho2), alpha)) * sqrt(1 / t)
    assert ours == pytest.approx(published)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001])
def test_it_is_narrowest_where_it_is_tuned_for(alpha: float) -> None:
    best = minimize_scalar(
        lambda tau: (1 + 1 / tau) * (log1p(tau) - 2 * log(alpha)), bounds=(0.1, 99), method="bounded"
    )
    tuning = tuned_for_units(1_000, 0.3, alpha=alpha)
    assert tuning.rho**2 / (2 * 0.3 / 1_000) == pytest.approx(best.x, rel=1e-4)
    by_lift = tuned_for(0.05, alpha=alpha, power=0.9)
    error = by_lift.rho / sqrt(best.x)
    assert norm.cdf(log1p(0.05) / error - multiplier(error**2, by_lift)) == pytest.approx(0.9, abs=1e-4)


def test_the_interval_is_wider_than_that_of_one_look() -> None:
    for variance in 10.0 ** np.arange(-7, 0):
        assert multiplier(variance, TUNING) > 3.03


def test_lift_and_difference_tell_the_same() -> None:
    control, treatment = Estimate(4_000, 0.2, 4e-6), Estimate(4_000, 0.22, 4e-6)
    by_ratio, by_difference = lift(control, treatment, TUNING), difference(control, treatment, TUNING)
    assert by_ratio is not None
    assert by_difference is not None
    assert by_ratio.estimate == pytest.approx(0.1)
    assert by_difference.estimate == pytest.approx(0.02)
    assert by_ratio.low == pytest.approx(by_difference.low / 0.2, abs=0.005)
    assert by_ratio.sign == by_difference.sign == 1
    back = lift(treatment, control, TUNING)
    assert back is not None
    assert (1 + back.low) * (1 + by_ratio.high) == pytest.approx(1)


def test_a_difference_does_not_depend_on_the_unit_of_the_metric() -> None:
    milliseconds = difference(Estimate(900, 80, 9.0), Estimate(900, 120, 9.0), TUNING)
    seconds = difference(Estimate(900, 0.08, 9e-6), Estimate(900, 0.12, 9e-6), TUNING)
    assert milliseconds is not None
    assert seconds is not None
    assert milliseconds.high == pytest.approx(1_000 * seconds.high)
    assert milliseconds.p_value == pytest.approx(seconds.p_value)


def test_a_rate_that_rises_from_0_has_a_difference_but_no_lift() -> None:
    control, treatment = Estimate(5_000, 0.0, 0.0), Estimate(5_000, 0.02, 4e-6)
    found = difference(control, treatment, tuned_for(0.5))
    assert found is not None
    assert found.sign == 1
    assert lift(control, treatment, TUNING) is None


def test_great_harm_is_told_sooner_by_a_tuning_for_great_lifts() -> None:
    control, treatment = Estimate(500, 1.0, 0.005), Estimate(500, 0.5, 0.002)
    small, great = (lift(control, treatment, tuned_for(wanted)) for wanted in (0.02, 0.5))
    assert small is not None
    assert great is not None
    assert (small.sign, great.sign) == (0, -1)


@pytest.mark.parametrize(
    ("control", "treatment"),
    [
        (None, Estimate(500, 1.0, 0.001)),
        (Estimate(500, 1.0, 0.001), None),
        (Estimate(99, 1.0, 0.001), Estimate(500, 1.0, 0.001)),
        (Estimate(500, 1.0, 0.001), Estimate(99, 1.0, 0.001)),
        (Estimate(500, 1.0, 0.5), Estimate(500, 1.0, 0.5)),
        (Estimate(500, 0.0, 0.0), Estimate(500, 0.0, 0.0)),
    ],
)
def test_of_too_little_there_is_no_interval(control: Estimate | None, treatment: Estimate | None) -> None:
    assert difference(control, treatment, TUNING) is None
    assert lift(control, treatment, TUNING) is None


def test_one_arm_has_an_interval_of_its_own() -> None:
    found = mean_interval(Estimate(500, 2.0, 0.01), TUNING)
    assert found is not None
    assert found.low < 2.0 - 3 * 0.1 < 2.0 + 3 * 0.1 < found.high
    assert mean_interval(None, TUNING) is None
    assert mean_interval(Estimate(50, 2.0, 0.01), TUNING) is None


def test_the_always_valid_p_value_has_the_shape_of_the_mixture() -> None:
    control, treatment = Estimate(500, 1.0, 1e-4), Estimate(500, 1.03, 1e-4)
    found = lift(control, treatment, TUNING)
    assert found is not None

    def beyond(alpha: float) -> float:
        interval = lift(control, treatment, replace(TUNING, alpha=alpha))
        assert interval is not None
        return interval.low

    assert found.p_value == pytest.approx(brentq(beyond, 1e-6, 0.999), rel=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"lift": 0}, {"lift": -1}, {"lift": 0.1, "alpha": 0}, {"lift": 0.1, "power": 1}]
)
def test_what_cannot_be_tuned_for_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"lift|alpha|power"):
        tuned_for(**wrong)
