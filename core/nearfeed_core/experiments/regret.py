"""Simulations of what a way to choose arms costs: regret, what the best arm would have earned more.

Regret is counted in expectation over the choice and the reward of each request, so that a curve has the
noise of learning alone. What comes of a batch of requests is known `delay` batches after it has ended.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfeed_core.experiments.bandits import (
    FLOOR,
    SCALE,
    LinearArm,
    learned,
    linear_propensities,
    new_arm,
    propensities,
)

Values = NDArray[np.float64]
# From successes and trials (arms) that are known, and a seed, to propensities (arms).
Policy = Callable[[Values, Values, int], Values]
# From what is known of arms, contexts (n, dim) and a seed to propensities (n, arms).
ContextPolicy = Callable[[list[LinearArm], Values, int], Values]
_DRAWS = 1_000
_DRAWS_BY_CONTEXT = 200


def thompson(floor: float = FLOOR) -> Policy:
    """Beta-Bernoulli Thompson sampling."""
    return lambda successes, trials, seed: propensities(
        successes, trials, seed=seed, floor=floor, draws=_DRAWS
    )


def uniform() -> Policy:
    """Every arm alike, as in an experiment."""
    return lambda successes, _trials, _seed: np.full(len(successes), 1 / len(successes))


def fixed(arm: int) -> Policy:
    """One arm for all: with the best one, the regret of who knew it before."""
    return lambda successes, _trials, _seed: np.eye(len(successes))[arm]


def lints(floor: float = FLOOR, scale: float = SCALE) -> ContextPolicy:
    """Thompson sampling by context."""
    return lambda arms, contexts, seed: linear_propensities(
        arms, contexts, seed=seed, floor=floor, scale=scale, draws=_DRAWS_BY_CONTEXT
    )


def uniform_by_context() -> ContextPolicy:
    """Every arm alike in every context."""
    return lambda arms, contexts, _seed: np.full((len(contexts), len(arms)), 1 / len(arms))


def fixed_by_context(arm: int) -> ContextPolicy:
    """One arm in every context."""
    return lambda arms, contexts, _seed: np.tile(np.eye(len(arms))[arm], (len(contexts), 1))


def regret(
    rates: ArrayLike, policy: Policy, *, batches: int, per_batch: int, delay: int = 1, seed: int = 0
) -> Values:
    """(batches): regret so far after each batch, for arms with these chances of a success."""
    chances = np.asarray(rates, np.float64)
    rng = np.random.default_rng(seed)
    outcomes = np.zeros((2, batches, len(chances)))
    lost = np.zeros(batches)
    for batch in range(batches):
        successes, trials = outcomes[:, : max(0, batch - delay)].sum(axis=1)
        chosen = policy(successes, trials, int(rng.integers(2**32)))
        outcomes[1, batch] = rng.multinomial(per_batch, chosen)
        outcomes[0, batch] = rng.binomial(outcomes[1, batch].astype(np.int64), chances)
        lost[batch] = per_batch * (chances.max() - chosen @ chances)
    return np.cumsum(lost)


def regret_by_context(
    weights: ArrayLike,
    policy: ContextPolicy,
    *,
    batches: int,
    per_batch: int,
    delay: int = 1,
    seed: int = 0,
) -> Values:
    """(batches): regret so far against the best arm of each context.

    `weights` (arms, dim): a reward of 1 has the chance weights @ context, cut to 0 and 1; a context is 1
    and dim - 1 signs by lot.
    """
    rewarded = np.asarray(weights, np.float64)
    rng = np.random.default_rng(seed)
    arms = [new_arm(rewarded.shape[1])] * len(rewarded)
    waiting: list[tuple[Values, NDArray[np.intp], Values]] = []
    lost = np.zeros(batches)
    for batch in range(batches):
        if len(waiting) > delay:
            arms = _learned(arms, *waiting.pop(0))
        contexts = _contexts(rng, per_batch, rewarded.shape[1])
        chances = np.clip(contexts @ rewarded.T, 0, 1)
        chosen = policy(arms, contexts, int(rng.integers(2**32)))
        taken = _taken(rng, chosen)
        rewards = rng.random(per_batch) < chances[np.arange(per_batch), taken]
        waiting.append((contexts, taken, rewards.astype(np.float64)))
        lost[batch] = (chances.max(axis=1) - (chosen * chances).sum(axis=1)).sum()
    return np.cumsum(lost)


def _learned(
    arms: list[LinearArm], contexts: Values, taken: NDArray[np.intp], rewards: Values
) -> list[LinearArm]:
    return [learned(arm, contexts[taken == index], rewards[taken == index]) for index, arm in enumerate(arms)]


def _contexts(rng: np.random.Generator, n: int, dim: int) -> Values:
    return np.concatenate([np.ones((n, 1)), rng.choice([-1.0, 1.0], (n, dim - 1))], axis=1)


def _taken(rng: np.random.Generator, chosen: Values) -> NDArray[np.intp]:
    """One arm for each row of propensities (n, arms)."""
    places = rng.random((len(chosen), 1))
    return np.asarray((places >= np.cumsum(chosen, axis=1)[:, :-1]).sum(axis=1), np.intp)
