"""Experiments as they are watched: readers come back day after day, and somebody looks after each."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfeed_core.experiments.clusters import Estimate, UnitSums, merged, ratio
from nearfeed_core.experiments.cuped import adjusted
from nearfeed_core.experiments.sequences import Tuning, lift, tuned_for
from nearfeed_core.experiments.simulation import Community, watched
from nearfeed_core.experiments.sizing import power_of, readers_needed

GROWING = Community(readers=300)
COHORT = Community(readers=160, there=1.0)
UNEVEN = Community(readers=200, activity=0.2, taste=3.0)
EAGER = Community(readers=1, visits=3.0, activity=2.0, rate=0.5, taste=60.0)
Called = NDArray[np.bool_]


def called(
    community: Community, tuning: Tuning, *, experiments: int, cuped: bool = False, **options: Any
) -> tuple[Called, Called]:
    """Of which experiments a sequence, and a z-test for one look, said at any look that the arms differ."""
    by_sequence, by_z = np.zeros(experiments, np.bool_), np.zeros(experiments, np.bool_)
    for day in watched(community, experiments=experiments, **options):
        for index, (control, treatment) in enumerate(day):
            arms = {"control": control, "treatment": treatment}
            one, two = estimates_of(arms, cuped)
            found = lift(one, two, tuning)
            if one and two and found:
                by_sequence[index] |= found.sign != 0
                by_z[index] |= abs(two.mean - one.mean) > 1.96 * np.sqrt(one.variance + two.variance)
    return by_sequence, by_z


def estimates_of(arms: Mapping[str, UnitSums], cuped: bool) -> tuple[Estimate | None, Estimate | None]:
    found = adjusted(arms).estimates if cuped else {name: ratio(sums) for name, sums in arms.items()}
    return found["control"], found["treatment"]


def test_without_a_difference_few_of_1000_experiments_watched_daily_are_called_different() -> None:
    by_sequence, by_z = called(GROWING, tuned_for(0.3), experiments=1_000)
    assert by_sequence.sum() <= 50
    assert by_z.sum() > 100, "a test for one look must fail here, or this test could not fail"


@pytest.mark.parametrize(
    ("community", "options"),
    [
        (COHORT, {}),
        (UNEVEN, {}),
        (replace(UNEVEN, rate=0.05), {"per_reader": True}),
        (GROWING, {"cuped": True}),
    ],
)
def test_it_holds_for_other_readers_and_metrics(community: Community, options: dict[str, Any]) -> None:
    by_sequence, _ = called(community, tuned_for(0.3), experiments=200, seed=1, **options)
    assert by_sequence.sum() <= 10


def test_a_lift_of_5_percent_is_found_with_the_power_that_sizing_promises() -> None:
    """It is at least what the last look promises, and at most what 28 looks at equal steps would find."""
    experiments = 500
    *_, [pilot] = watched(replace(EAGER, readers=20_000), experiments=1, seed=2)
    earlier = ratio(merged(pilot))
    assert earlier is not None
    readers = readers_needed(0.05, earlier.unit_variance, power=0.8)
    tuning = tuned_for(0.05, power=0.8)
    found, _ = called(
        replace(EAGER, readers=readers // 2), tuning, experiments=experiments, lift=0.05, seed=3
    )
    most = power_of(0.05, readers, earlier.unit_variance, tuning=tuning, looks=28)
    error = np.sqrt(0.8 * 0.2 / experiments)
    assert 0.8 - 2.6 * error < found.mean() < most + 2.6 * error


def test_readers_who_come_back_make_the_variance_one_of_readers() -> None:
    """The reported variance is that of the estimates over experiments, on the first day and on the last."""
    days = list(watched(Community(readers=600, activity=0.5, taste=5.0, days=6), experiments=400, seed=4))
    for day in (days[0], days[-1]):
        pairs = [(ratio(control), ratio(treatment)) for control, treatment in day]
        differences = [two.mean - one.mean for one, two in pairs if one and two]
        variances = [two.variance + one.variance for one, two in pairs if one and two]
        assert np.var(differences) == pytest.approx(np.mean(variances), rel=0.2)
