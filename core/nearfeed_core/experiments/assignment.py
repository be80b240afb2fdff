"""Who gets which arm: a position between 0 and 1 by a salted hash, the same everywhere and for ever.

The hash is the first 8 bytes, big endian, of SHA-256 over salt, NUL and unit in UTF-8. Salts of layers,
arms and the holdout differ, so that what one experiment does is independent of all others (Tang et al.,
Overlapping Experiment Infrastructure, KDD 2010).
"""

from collections.abc import Container, Sequence
from hashlib import sha256
from itertools import accumulate
from math import isclose

BUCKETS = 1_000
_HOLDOUT = "holdout"


def position(salt: str, unit: str, size: int) -> int:
    """A place from 0 to size - 1. Raises ValueError on a salt with NUL and on a size below 1."""
    if size < 1:
        raise ValueError(f"size is {size}, but there must be at least one place")
    return _digest(salt, unit) * size >> 64


def bucket(salt: str, unit: str, buckets: int = BUCKETS) -> int:
    """One of `buckets` parts of the traffic, 0 first."""
    return position(salt, unit, buckets)


def uniform(salt: str, unit: str) -> float:
    """A number in [0, 1), a multiple of 2^-53."""
    return (_digest(salt, unit) >> 11) * 2.0**-53


def layer_bucket(layer: str, unit: str) -> int:
    """The unit's part of a layer's traffic; experiments of a layer have buckets of their own."""
    return bucket(f"layer:{layer}", unit)


def arm_of(experiment: str, unit: str, shares: Sequence[float]) -> int:
    """The index of the unit's arm; the shares of the arms sum to 1, else ValueError."""
    return _chosen(uniform(f"arm:{experiment}", unit), shares)


def assigned(
    unit: str, *, layer: str, experiment: str, buckets: Container[int], shares: Sequence[float]
) -> int | None:
    """The index of the unit's arm, None outside the experiment's buckets.

    More buckets bring more units in, and move none between arms; other shares do move some.
    """
    return arm_of(experiment, unit, shares) if layer_bucket(layer, unit) in buckets else None


def held_out(unit: str, share: float) -> bool:
    """Whether a unit is kept out of all experiments; a smaller share's units are among a larger one's."""
    return uniform(_HOLDOUT, unit) < share


def drawn(experiment: str, nonce: str, propensities: Sequence[float]) -> int:
    """The index of a bandit's arm for one request, known by its nonce; propensities as `arm_of`."""
    return _chosen(uniform(f"draw:{experiment}", nonce), propensities)


def _digest(salt: str, unit: str) -> int:
    if "\0" in salt:
        raise ValueError("salt holds NUL, which separates it from the unit")
    return int.from_bytes(sha256(f"{salt}\0{unit}".encode()).digest()[:8], "big")


def _chosen(place: float, shares: Sequence[float]) -> int:
    if any(share < 0 for share in shares) or not isclose(sum(shares), 1, abs_tol=1e-9):
        raise ValueError(f"shares {list(shares)} are not such that none is negative and all sum to 1")
    ends = accumulate(shares)
    within = (
        index for index, (end, share) in enumerate(zip(ends, shares, strict=True)) if place < end and share
    )
    return next(within, max(index for index, share in enumerate(shares) if share))
