import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nearfeed_core.bootstrap import bootstrap_mean
from nearfeed_core.experiments.clusters import (
    Estimate,
    UnitSums,
    merged,
    ratio,
    summed_by,
    sums_from,
    sums_of,
)

pairs = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 50)), min_size=2, max_size=30)


def jackknife_variance(top: NDArray[np.float64], below: NDArray[np.float64]) -> float:
    """An oracle of other make: Efron's jackknife of the ratio, without a unit at a time."""
    without = (top.sum() - top) / (below.sum() - below)
    return float((len(top) - 1) / len(top) * ((without - without.mean()) ** 2).sum())


def test_the_variance_of_a_ratio_is_that_of_the_jackknife_over_units() -> None:
    rng = np.random.default_rng(0)
    shown = rng.poisson(rng.gamma(0.5, 40, 3_000)) + 1
    clicks = rng.binomial(shown, rng.beta(1, 9, 3_000))
    found = ratio(sums_of(clicks, shown))
    assert found is not None
    assert found.mean == clicks.sum() / shown.sum()
    assert found.variance == pytest.approx(jackknife_variance(clicks, shown), rel=0.02)
    by_impression = found.mean * (1 - found.mean) / shown.sum()
    assert found.variance > 3 * by_impression, "readers' impressions depend on each other"


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50))
def test_a_mean_per_reader_is_a_ratio_with_ones(values: list[float]) -> None:
    found = ratio(sums_of(values))
    assert found is not None
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.variance == pytest.approx(np.var(values, ddof=1) / len(values), rel=1e-6, abs=1e-6)


@given(one=pairs, other=pairs)
def test_sums_of_parts_are_the_sums_of_the_whole(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    whole = sums_of(*zip(*one, *other, strict=True))
    assert merged([sums_of(*zip(*one, strict=True)), sums_of(*zip(*other, strict=True))]) == whole


@given(one=pairs)
def test_sums_survive_json(one: list[tuple[int, int]]) -> None:
    sums = sums_of(*zip(*one, strict=True))
    assert sums_from(json.loads(json.dumps(asdict(sums)))) == sums


@given(rows=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_rows_are_summed_by_reader(rows: list[tuple[str, int, int]]) -> None:
    readers, first, second = (np.array(column) for column in zip(*rows, strict=True))
    found = summed_by(readers, first, second)
    names = sorted({name for name, _, _ in rows})
    assert found[0].tolist() == [sum(one for name, one, _ in rows if name == wanted) for wanted in names]
    assert found[1].tolist() == [sum(two for name, _, two in rows if name == wanted) for wanted in names]


@pytest.mark.parametrize("sums", [sums_of([1.0]), sums_of([], []), sums_of([0, 0, 0], [0, 0, 0]), merged([])])
def test_of_too_little_there_is_no_estimate(sums: UnitSums) -> None:
    assert ratio(sums) is None


def test_the_interval_of_a_skewed_mean_is_about_that_of_the_bootstrap() -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 2_000)
    found = ratio(sums_of(values))
    assert found is not None
    interval = bootstrap_mean(values)
    assert 2 * 1.96 * found.error == pytest.approx(interval.high - interval.low, rel=0.05)


def test_the_variance_of_a_unit_is_relative() -> None:
    assert Estimate(400, 2.0, 0.01).unit_variance == 1.0
    assert Estimate(400, 0.0, 0.01).unit_variance == float("inf")
