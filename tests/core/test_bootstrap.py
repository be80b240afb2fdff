import numpy as np
import pytest

from nearfeed_core import bootstrap
from nearfeed_core.bootstrap import Interval, bootstrap_mean, bootstrap_means


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(0).normal(5, 2, 2_000)
    found = bootstrap_mean(values)
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.01)


def test_a_constant_has_an_interval_without_width() -> None:
    found = bootstrap_mean(np.full(7, 0.25))
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


def test_columns_share_the_readers_that_are_drawn() -> None:
    one = np.random.default_rng(0).random(50)
    both = bootstrap_means(np.stack([one, 3 * one + 1], axis=1))
    alone = bootstrap_mean(one)
    assert (both[0].low, both[0].high) == pytest.approx((alone.low, alone.high))
    assert (both[1].low, both[1].high) == pytest.approx((3 * both[0].low + 1, 3 * both[0].high + 1))


def test_pairing_finds_a_gain_that_readers_vary_more_than() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(200)
    better = base + 0.01 + rng.normal(0, 0.02, 200)
    alone = bootstrap_mean(better)
    assert alone.low < base.mean() < alone.high
    assert bootstrap_mean(better - base).sign == 1


def test_drawing_in_parts_gives_an_interval_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random((300, 2))
    whole = bootstrap_means(values)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 300 * 7)
    for one, other in zip(whole, bootstrap_means(values), strict=True):
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high), abs=0.005)


@pytest.mark.parametrize(
    ("low", "high", "sign"), [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.1, 0), (0.0, 0.1, 0)]
)
def test_better_means_that_the_interval_lies_above_0(low: float, high: float, sign: int) -> None:
    assert Interval(0.0, low, high).sign == sign


def test_without_readers_there_is_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one reader"):
        bootstrap_mean(np.empty(0))
