from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nearfeed_core.experiments.off_policy import (
    Logged,
    OffPolicyError,
    Value,
    doubly_robust,
    effective_size,
    ips,
    snips,
)

ARMS = np.array([0.10, 0.20, 0.30])
LOGGING = np.array([0.6, 0.3, 0.1])
TARGET = np.array([0.1, 0.3, 0.6])
# A reader's taste moves the rewards of all arms: the expected value of the target is that of the means.
TRUTH = float(TARGET @ ARMS)
Estimator = Callable[[Logged], Value]
ESTIMATORS = (ips, snips, doubly_robust)


def logged(seed: int, *, readers: int = 300, model_error: float = 0.0) -> Logged:
    """Readers with 1 to 9 requests each and a taste of their own; what a bandit with LOGGING has kept."""
    rng = np.random.default_rng(seed)
    reader = np.repeat(np.arange(readers), rng.integers(1, 10, readers))
    taste = rng.uniform(0.2, 1.8, readers)[reader]
    arm = rng.choice(3, len(reader), p=LOGGING)
    rewards = (rng.random(len(reader)) < ARMS[arm] * taste).astype(np.float64)
    predictions = ARMS + model_error
    return Logged(
        reader,
        LOGGING[arm],
        TARGET[arm],
        rewards,
        predictions[arm],
        np.full(len(reader), TARGET @ predictions),
    )


def values(estimator: Estimator, runs: int = 400, **options: float) -> list[Value]:
    return [estimator(logged(seed, **options)) for seed in range(runs)]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_truth_is_met_and_covered_as_the_level_says(estimator: Estimator) -> None:
    found = values(estimator)
    estimates = np.array([value.estimate for value in found])
    assert estimates.mean() == pytest.approx(TRUTH, abs=3 * estimates.std() / np.sqrt(len(found)) + 0.001)
    covered = np.mean([value.low <= TRUTH <= value.high for value in found])
    assert 0.92 <= covered <= 0.98


def test_intervals_that_count_requests_and_not_readers_cover_less() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        reader = np.repeat(np.arange(100), 20)
        likes = (rng.random(100) < TRUTH)[reader].astype(np.float64)
        even = np.ones(len(reader))
        pair = [ips(Logged(units, even, even, likes)) for units in (reader, np.arange(len(reader)))]
        covered.append([value.low <= TRUTH <= value.high for value in pair])
    by_reader, by_request = np.mean(covered, axis=0)
    assert by_reader > 0.9
    assert by_request < 0.5


def test_a_model_takes_noise_away_and_a_wrong_one_does_no_harm() -> None:
    plain, robust, wrong = (
        np.array([value.estimate for value in found])
        for found in (values(ips), values(doubly_robust), values(doubly_robust, model_error=0.3))
    )
    assert robust.std() < 0.95 * plain.std()
    assert wrong.mean() == pytest.approx(TRUTH, abs=4 * wrong.std() / np.sqrt(len(wrong)))


def test_wrong_propensities_are_mended_by_a_right_model() -> None:
    found = [
        doubly_robust(replace(log, propensities=np.full(len(log.rewards), 1 / 3)))
        for log in (logged(seed) for seed in range(200))
    ]
    estimates = np.array([value.estimate for value in found])
    assert estimates.mean() == pytest.approx(TRUTH, abs=4 * estimates.std() / np.sqrt(len(found)))


def test_evaluating_the_policy_that_was_logged_gives_the_mean_reward() -> None:
    log = logged(0)
    log = replace(log, targets=log.propensities)
    for estimator in (ips, snips):
        found = estimator(log)
        assert found.estimate == pytest.approx(log.rewards.mean())
        assert found.effective_size == pytest.approx(found.requests)


def test_rewards_that_are_shifted_shift_snips() -> None:
    log = logged(1)
    moved = replace(log, rewards=log.rewards + 5)
    assert snips(moved).estimate == pytest.approx(snips(log).estimate + 5)


def test_the_effective_size_is_kishs() -> None:
    assert effective_size(np.array([1.0, 1.0, 1.0])) == 3
    assert effective_size(np.array([10.0, 0.0, 0.0])) == 1
    assert effective_size(np.zeros(3)) == 0
    found = ips(logged(2))
    assert 1 < found.effective_size < found.requests


def test_a_log_that_tells_nothing_is_refused() -> None:
    log = logged(3)
    with pytest.raises(OffPolicyError, match="propensity"):
        ips(replace(log, propensities=np.zeros(len(log.rewards))))
    with pytest.raises(OffPolicyError, match="predicted"):
        doubly_robust(replace(log, predicted=None))
    with pytest.raises(OffPolicyError, match="two readers"):
        ips(replace(log, readers=np.zeros(len(log.rewards))))
    with pytest.raises(OffPolicyError, match="target"):
        snips(replace(log, targets=np.zeros(len(log.rewards))))
