"""Thompson sampling: each arm is taken as often as it is likely to be the best, and the chance is logged.

Feedback comes late and in batches: hand over trials whose window for an outcome has closed, for an open one
without an outcome would count as a failure. Propensities then hold until the next batch, so that they
are what requests are drawn by (`assignment.drawn`), and what off-policy evaluation divides by. A posterior is
drawn from by a seed: the same evidence and seed give the same propensities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
FLOOR = 0.05
DRAWS = 10_000
DRAWS_BY_CONTEXT = 1_000
SCALE = 0.5


@dataclass(frozen=True)
class LinearArm:
    """What an arm's rewards by context are known to be: precision (dim, dim) and moment (dim)."""

    precision: Values
    moment: Values


def propensities(
    successes: ArrayLike, trials: ArrayLike, *, seed: int, floor: float = FLOOR, draws: int = DRAWS
) -> Values:
    """(arms): the chance of each to be best under Beta-Bernoulli, none below the floor."""
    return floored(best_chances(successes, trials, seed=seed, draws=draws), floor)


def best_chances(
    successes: ArrayLike,
    trials: ArrayLike,
    *,
    seed: int,
    draws: int = DRAWS,
    prior: tuple[float, float] = (1.0, 1.0),
) -> Values:
    """(arms): how often an arm's rate is the highest of all in draws from the posterior.

    Thompson, Biometrika 1933; Chapelle and Li, An Empirical Evaluation of Thompson Sampling, NIPS 2011.
    Raises ValueError where an arm has more successes than trials.
    """
    found, tried = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    if found.shape != tried.shape or (found < 0).any() or (found > tried).any():
        raise ValueError("successes must be from 0 to the trials of their arm")
    rng = np.random.default_rng(seed)
    rates = rng.beta(prior[0] + found, prior[1] + tried - found, (draws, len(found)))
    return _shares(rates.argmax(axis=1)[None], len(found)).ravel()


def floored(chances: ArrayLike, floor: float) -> Values:
    """Chances (..., arms) with `floor` for each arm, and the rest by chance.

    Raises ValueError unless floor is from 0 to 1 / arms.
    """
    given = np.asarray(chances, np.float64)
    arms = given.shape[-1]
    if not 0 <= floor * arms <= 1:
        raise ValueError(f"a floor of {floor} for each of {arms} arms is not between 0 and 1 in all")
    return np.asarray(floor + (1 - floor * arms) * given, np.float64)


def new_arm(dim: int) -> LinearArm:
    """An arm of which nothing is known, for contexts of `dim` numbers of about 1; one of them may be 1."""
    return LinearArm(np.eye(dim), np.zeros(dim))


def learned(arm: LinearArm, contexts: ArrayLike, rewards: ArrayLike) -> LinearArm:
    """The arm with what came of it: contexts (n, dim), rewards (n)."""
    seen = np.asarray(contexts, np.float64)
    return LinearArm(arm.precision + seen.T @ seen, arm.moment + seen.T @ np.asarray(rewards, np.float64))


def linear_propensities(
    arms: Sequence[LinearArm],
    contexts: ArrayLike,
    *,
    seed: int,
    floor: float = FLOOR,
    scale: float = SCALE,
    draws: int = DRAWS_BY_CONTEXT,
) -> Values:
    """(n, arms): the chance of each arm to be best in each of the contexts (n, dim), none below the floor.

    LinTS (Agrawal and Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML 2013) with
    parameters of their own for each arm. `scale` is their v: the standard deviation of a reward, at most
    0.5 for one of 0 or 1.
    """
    where = np.asarray(contexts, np.float64)
    means = np.stack([where @ np.linalg.solve(arm.precision, arm.moment) for arm in arms], axis=1)
    spreads = np.stack([_spread(arm, where) for arm in arms], axis=1)
    noise = np.random.default_rng(seed).standard_normal((draws, *means.shape))
    best = (means + scale * spreads * noise).argmax(axis=2)
    return floored(_shares(best.T, len(arms)), floor)


def _spread(arm: LinearArm, contexts: Values) -> Values:
    return np.asarray(np.sqrt((contexts * np.linalg.solve(arm.precision, contexts.T).T).sum(axis=1)))


def _shares(best: NDArray[np.intp], arms: int) -> Values:
    """(n, arms) from the best arm of each draw (n, draws)."""
    return np.stack([(best == arm).mean(axis=1) for arm in range(arms)], axis=1)
