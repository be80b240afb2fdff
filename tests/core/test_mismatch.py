from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, binom

from nearfeed_core.experiments.mismatch import log_bayes_factor, mismatch

LOOKS = np.arange(20, 5_001, 20)


@given(counts=st.tuples(st.integers(0, 3_000), st.integers(0, 3_000)), share=st.floats(0.05, 0.95))
def test_with_two_arms_it_is_beta_binomial_against_binomial(counts: tuple[int, int], share: float) -> None:
    n = sum(counts)
    expected = betabinom.logpmf(counts[0], n, 1_000 * share, 1_000 * (1 - share)) - binom.logpmf(
        counts[0], n, share
    )
    assert log_bayes_factor(counts, (share, 1 - share)) == pytest.approx(expected, abs=1e-6)


def least_p(counts: np.ndarray, shares: tuple[float, ...]) -> float:
    found = 1.0
    for row in counts:
        found = mismatch(row.tolist(), shares, least_p=found).p_value
    return found


def test_arms_with_their_shares_seldom_alarm_at_any_look() -> None:
    shares = (0.2, 0.3, 0.5)
    rng = np.random.default_rng(0)
    steps = rng.multinomial(20, shares, (300, len(LOOKS)))
    alarms = sum(least_p(counts, shares) < 0.05 for counts in np.cumsum(steps, axis=1))
    assert alarms <= 0.05 * 300
    naive = np.cumsum(steps, axis=1)[:, :, 0]
    z = (naive - LOOKS * 0.2) / np.sqrt(LOOKS * 0.16)
    assert (np.abs(z) > 1.96).any(axis=1).mean() > 0.3, "a test for one look would alarm"


def test_a_share_that_is_off_by_a_tenth_alarms() -> None:
    rng = np.random.default_rng(1)
    steps = rng.multinomial(200, (0.45, 0.55), (50, 50))
    alarms = [least_p(counts, (0.5, 0.5)) < 0.01 for counts in np.cumsum(steps, axis=1)]
    assert np.mean(alarms) > 0.95


def test_the_p_value_never_rises_and_alarms_below_alpha() -> None:
    first = mismatch((700, 300), (0.5, 0.5))
    assert first.alarm
    assert first.expected == (500, 500)
    later = mismatch((5_000, 5_000), (0.5, 0.5), least_p=first.p_value)
    assert later.p_value == first.p_value
    assert not mismatch((500, 500), (0.5, 0.5)).alarm
    assert mismatch((505, 495), (0.5, 0.5)).p_value == 1.0


def test_periods_with_other_shares_add_up() -> None:
    first, second = ((505, 495), (0.5, 0.5)), ((98, 902), (0.1, 0.9))
    assert log_bayes_factor(*first) + log_bayes_factor(*second) < 0
    for shares in (0.5, 0.5), (0.1, 0.9):
        assert mismatch((603, 1_397), shares).alarm, "as one period it looks like a mismatch"


def test_a_unit_in_an_arm_without_a_share_is_a_mismatch_without_doubt() -> None:
    assert log_bayes_factor((5, 1), (1.0, 0.0)) == inf
    assert mismatch((5, 1), (1.0, 0.0)).p_value == 0
    assert log_bayes_factor((5, 0), (1.0, 0.0)) == pytest.approx(0)


@pytest.mark.parametrize(
    ("counts", "shares"), [((1, 2), (1.0,)), ((1, 2), (0.5, 0.4)), ((1, 2), (1.5, -0.5))]
)
def test_shares_that_are_none_are_refused(counts: tuple[int, ...], shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        mismatch(counts, shares)
