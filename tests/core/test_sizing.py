import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_core.experiments import sizing
from nearfeed_core.experiments.clusters import Estimate
from nearfeed_core.experiments.sequences import Tuning, multiplier, tuned_for


def by_simulation(effect: float, variance: float, tuning: Tuning, looks: int) -> float:
    """The share of 20,000 Brownian motions that leave the bounds at a look."""
    clock = np.arange(1, looks + 1) / looks / variance
    steps = np.random.default_rng(0).normal(effect * clock[0], np.sqrt(clock[0]), (20_000, looks))
    bounds = [multiplier(1 / now, tuning) * np.sqrt(now) for now in clock]
    return float((np.abs(np.cumsum(steps, axis=1)) > bounds).any(axis=1).mean())


@pytest.mark.parametrize("looks", [1, 2, 28])
@pytest.mark.parametrize(
    ("effect", "error"), [(0.0, 0.01), (0.05, 0.02), (0.05, 0.012), (-0.05, 0.015), (0.05, 1.0)]
)
def test_the_chance_to_leave_the_bounds_is_that_of_a_simulation(
    effect: float, error: float, looks: int
) -> None:
    found = sizing.crossing(effect, error**2, tuned_for(0.05), looks)
    expected = by_simulation(effect, error**2, tuned_for(0.05), looks)
    assert found == pytest.approx(expected, abs=4 * np.sqrt(max(expected * (1 - expected), 1e-4) / 20_000))


def test_false_alarms_stay_below_alpha_for_however_many_looks() -> None:
    found = [sizing.crossing(0.0, 1e-4, tuned_for(0.05), looks) for looks in (1, 7, 28, 90, 365)]
    assert found == sorted(found)
    assert found[-1] < 0.05


@settings(deadline=None)
@given(
    lift=st.floats(0.01, 0.5),
    unit_variance=st.floats(0.05, 20),
    share=st.floats(0.1, 0.9),
    power=st.sampled_from([0.5, 0.8, 0.95]),
)
def test_the_lift_found_with_the_readers_needed_is_the_lift(
    lift: float, unit_variance: float, share: float, power: float
) -> None:
    shares = (share, 1 - share)
    readers = sizing.readers_needed(lift, unit_variance, shares=shares, power=power)
    found = sizing.lift_found(readers, unit_variance, shares=shares, power=power)
    assert found <= lift * (1 + 1e-6)
    if readers > 100 / min(shares) + 1:
        assert found == pytest.approx(lift, rel=0.01)
        tuning = tuned_for(lift, power=power)
        assert sizing.power_of(lift, readers, unit_variance, tuning=tuning, shares=shares) == pytest.approx(
            power, abs=0.01
        )


def test_watching_needs_more_readers_than_one_look_and_fewer_with_more_looks() -> None:
    fixed = (1.959964 + 0.841621) ** 2 * 4 * 0.3 / np.log1p(0.05) ** 2
    last, daily = (sizing.readers_needed(0.05, 0.3, looks=looks) for looks in (1, 28))
    assert 1.5 * fixed < daily < last < 2 * fixed


def test_only_the_proportion_of_the_shares_counts() -> None:
    assert sizing.readers_needed(0.05, 0.3, shares=(0.1, 0.1)) == sizing.readers_needed(0.05, 0.3)
    assert sizing.readers_needed(0.05, 0.3, shares=(0.1, 0.9)) > 2 * sizing.readers_needed(0.05, 0.3)


def test_no_size_is_below_what_an_interval_is_given_for() -> None:
    assert sizing.readers_needed(5.0, 0.01) == 200
    assert sizing.readers_needed(5.0, 0.01, shares=(0.1, 0.4)) == 500


def test_days_are_those_after_which_the_history_has_enough() -> None:
    needed = sizing.readers_needed(0.05, 0.5)
    history = [None, *(Estimate(500 * day, 0.2, 0.5 * 0.04 / (500 * day)) for day in range(1, 60))]
    days = sizing.days_needed(history, 0.05)
    assert days is not None
    assert 500 * (days - 2) < needed <= 500 * (days - 1)
    a_fifth = sizing.days_needed(history, 0.05, shares=(0.25, 0.25))
    assert a_fifth is not None
    assert a_fifth > 1.9 * days
    assert sizing.days_needed(history, 0.001) is None
    assert sizing.days_needed([], 0.05) is None
