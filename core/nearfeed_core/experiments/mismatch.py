"""Whether arms get the units that they should, tested at every look.

Sample-ratio mismatch by the sequential multinomial test of Lindon and Malek, Anytime-Valid Inference for
Multinomial Count Data, NeurIPS 2022: the Bayes factor of a Dirichlet prior around the shares against the
shares themselves is a martingale if these hold, so that its reciprocal is below alpha at any time with
a chance of at most alpha (Ville).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isclose, lgamma, log

ALPHA = 0.01
CONCENTRATION = 1_000.0


@dataclass(frozen=True)
class Mismatch:
    """The least p-value so far, whether that is an alarm, and how many units each arm should have."""

    p_value: float
    alarm: bool
    expected: tuple[float, ...]


def mismatch(
    counts: Sequence[int], shares: Sequence[float], *, least_p: float = 1.0, alpha: float = ALPHA
) -> Mismatch:
    """Of units by arm, each counted once; `least_p` is the p-value of the look before.

    Raises ValueError unless there is a share for each count, none is negative, and all sum to 1.
    """
    evidence = log_bayes_factor(counts, shares)
    p_value = min(least_p, 1.0, exp(-evidence)) if evidence > 0 else min(least_p, 1.0)
    total = sum(counts)
    return Mismatch(p_value, p_value < alpha, tuple(total * share for share in shares))


def log_bayes_factor(
    counts: Sequence[int], shares: Sequence[float], *, concentration: float = CONCENTRATION
) -> float:
    """Natural logarithm; that of periods with different shares is the sum of theirs.

    A unit in an arm with a share of 0 is a mismatch without doubt: infinity. The prior is worth
    `concentration` units.
    """
    if len(counts) != len(shares) or min(shares) < 0 or not isclose(sum(shares), 1, abs_tol=1e-9):
        raise ValueError(f"shares {list(shares)} are not one for each of {len(counts)} arms that sum to 1")
    if any(count and not share for count, share in zip(counts, shares, strict=True)):
        return inf
    there = [(count, share) for count, share in zip(counts, shares, strict=True) if share]
    found = lgamma(concentration) - lgamma(concentration + sum(counts))
    for count, share in there:
        prior = concentration * share
        found += lgamma(prior + count) - lgamma(prior) - count * log(share)
    return found
