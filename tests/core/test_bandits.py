import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import beta, norm

from nearfeed_core.experiments import bandits, regret

RATES = (0.05, 0.06, 0.08, 0.04)
# In two contexts different arms are best; the third is best for all together.
WEIGHTS = ((0.30, 0.15), (0.30, -0.15), (0.32, 0.0))
evidence = st.lists(
    st.integers(0, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=5
)


def test_chances_are_the_integral_over_the_posteriors() -> None:
    successes, trials = (12, 20, 15), (100, 130, 90)
    posteriors = [beta(1 + s, 1 + n - s) for s, n in zip(successes, trials, strict=True)]

    def chance(arm: int) -> float:
        others = [one for index, one in enumerate(posteriors) if index != arm]
        return integrate.quad(lambda x: posteriors[arm].pdf(x) * np.prod([o.cdf(x) for o in others]), 0, 1)[0]

    found = bandits.best_chances(successes, trials, seed=0, draws=40_000)
    assert found == pytest.approx([chance(arm) for arm in range(3)], abs=0.01)


@given(evidence, st.integers(0, 2**32), st.floats(0, 0.2))
def test_propensities_sum_to_1_and_keep_the_floor(
    arms: list[tuple[int, int]], seed: int, floor: float
) -> None:
    successes, trials = zip(*arms, strict=True)
    found = bandits.propensities(successes, trials, seed=seed, floor=floor, draws=100)
    assert found.sum() == pytest.approx(1)
    assert (found >= floor - 1e-12).all()
    assert (found == bandits.propensities(successes, trials, seed=seed, floor=floor, draws=100)).all()


def test_more_evidence_makes_the_best_arm_surer() -> None:
    few, many = (bandits.propensities([6 * n, 5 * n], [50 * n, 50 * n], seed=0) for n in (1, 100))
    assert 0.5 < few[0] < 0.8
    assert many == pytest.approx([0.95, 0.05], abs=0.001)


def test_what_is_no_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="trials"):
        bandits.best_chances([3], [2], seed=0)
    with pytest.raises(ValueError, match="floor"):
        bandits.floored([0.5, 0.5], 0.6)


def test_chances_by_context_are_those_of_the_normal_posteriors() -> None:
    rng = np.random.default_rng(0)
    contexts = rng.normal(size=(2, 80, 3))
    arms = [bandits.learned(bandits.new_arm(3), seen, rng.random(80)) for seen in contexts]
    context = np.array([1.0, -0.5, 0.2])
    posteriors = [
        (
            context @ np.linalg.inv(arm.precision) @ arm.moment,
            context @ np.linalg.inv(arm.precision) @ context,
        )
        for arm in arms
    ]
    (one, own), (two, other) = posteriors
    expected = norm.cdf((one - two) / (0.5 * np.sqrt(own + other)))
    found = bandits.linear_propensities(arms, context[None], seed=0, floor=0.0, draws=40_000)
    assert found[0] == pytest.approx([expected, 1 - expected], abs=0.01)


def test_learning_in_parts_is_learning_at_once() -> None:
    rng = np.random.default_rng(1)
    contexts, rewards = rng.normal(size=(30, 2)), rng.random(30)
    whole = bandits.learned(bandits.new_arm(2), contexts, rewards)
    parts = bandits.new_arm(2)
    for part in (slice(0, 7), slice(7, 7), slice(7, 30)):
        parts = bandits.learned(parts, contexts[part], rewards[part])
    assert parts.precision == pytest.approx(whole.precision)
    assert parts.moment == pytest.approx(whole.moment)


@pytest.mark.parametrize("delay", [0, 3])
def test_thompson_sampling_regrets_far_less_than_uniform_choice(delay: int) -> None:
    def last(policy: regret.Policy) -> np.ndarray:
        curves = [
            regret.regret(RATES, policy, batches=120, per_batch=200, delay=delay, seed=seed)
            for seed in range(10)
        ]
        assert all((np.diff(curve) >= 0).all() for curve in curves)
        return np.array([curve[-1] for curve in curves])

    thompson, uniform, best = last(regret.thompson(0.01)), last(regret.uniform()), last(regret.fixed(2))
    assert (best == 0).all()
    assert thompson.max() < 0.5 * uniform.min()
    assert (last(regret.fixed(3)) > uniform).all()


def test_delays_cost_but_do_not_mislead() -> None:
    curves = [
        np.mean(
            [
                regret.regret(
                    RATES, regret.thompson(0.01), batches=80, per_batch=200, delay=delay, seed=seed
                )[-1]
                for seed in range(10)
            ]
        )
        for delay in (0, 20)
    ]
    assert curves[0] < curves[1] < 0.7 * 80 * 200 * (0.08 - np.mean(RATES))


def test_where_contexts_differ_lints_beats_the_best_fixed_arm() -> None:
    def last(policy: regret.ContextPolicy) -> float:
        return float(
            np.mean(
                [
                    regret.regret_by_context(WEIGHTS, policy, batches=80, per_batch=60, seed=seed)[-1]
                    for seed in range(3)
                ]
            )
        )

    lints, uniform, fixed = (
        last(policy)
        for policy in (regret.lints(0.01), regret.uniform_by_context(), regret.fixed_by_context(2))
    )
    assert lints < 0.5 * fixed < 0.5 * uniform
