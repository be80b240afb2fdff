import json
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from nearfeed_core.experiments import assignment

VECTORS = json.loads((Path(__file__).parent / "assignment_vectors.json").read_text())
READERS = [f"reader-{number}" for number in range(20_000)]
LEAST_P = 0.001
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['salt']}/{vector['unit']}")
def test_the_test_vectors_hold(vector: dict[str, str | int | float]) -> None:
    salt, unit = str(vector["salt"]), str(vector["unit"])
    assert assignment.bucket(salt, unit) == vector["bucket"]
    assert assignment.uniform(salt, unit) == vector["uniform"]


@given(salt=texts, unit=texts, size=st.integers(1, 2**40))
def test_a_position_is_the_hash_as_a_fraction_of_the_size(salt: str, unit: str, size: int) -> None:
    digest = sha256(salt.encode() + b"\0" + unit.encode()).digest()
    whole = int.from_bytes(digest[:8], "big")
    assert assignment.position(salt, unit, size) == whole * size // 2**64
    assert assignment.uniform(salt, unit) == (whole // 2**11) / 2**53
    assert 0 <= assignment.uniform(salt, unit) < 1


def test_what_could_be_taken_for_another_salt_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        assignment.bucket("a\0b", "c")
    with pytest.raises(ValueError, match="at least one place"):
        assignment.bucket("a", "b", 0)


def test_buckets_are_uniform() -> None:
    counts = np.bincount([assignment.bucket("salt", reader) for reader in READERS], minlength=1_000)
    assert chisquare(counts).pvalue > LEAST_P


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1, 0.2, 0.7), (0.999, 0.001), (0.0, 1.0)])
def test_arms_get_their_shares(shares: tuple[float, ...]) -> None:
    counts = Counter(assignment.arm_of("arms", reader, shares) for reader in READERS)
    there = [index for index, share in enumerate(shares) if share]
    assert set(counts) <= set(there)
    if len(there) > 1:
        expected = [shares[index] * len(READERS) for index in there]
        assert chisquare([counts[index] for index in there], expected).pvalue > LEAST_P


@pytest.mark.parametrize("other", ["two", "one-2", "eno"])
def test_experiments_are_independent_of_each_other(other: str) -> None:
    table = np.zeros((3, 4))
    for reader in READERS:
        first = assignment.arm_of("one", reader, (0.2, 0.3, 0.5))
        table[first, assignment.arm_of(other, reader, (0.25, 0.25, 0.25, 0.25))] += 1
    assert chi2_contingency(table).pvalue > LEAST_P


def test_arms_are_independent_of_layers_the_holdout_and_draws() -> None:
    table = np.zeros((2, 4))
    for reader in READERS:
        arm = assignment.arm_of("same", reader, (0.5, 0.5))
        table[arm, 0] += assignment.layer_bucket("same", reader) < 500
        table[arm, 1] += assignment.held_out(reader, 0.5)
        table[arm, 2] += assignment.drawn("same", reader, (0.5, 0.5))
        table[arm, 3] += 1
    for column in range(3):
        two = np.stack([table[:, column], table[:, 3] - table[:, column]])
        assert chi2_contingency(two).pvalue > LEAST_P


def test_ramping_up_brings_readers_in_and_moves_none() -> None:
    def arms(buckets: range) -> dict[str, int]:
        found = {
            reader: assignment.assigned(
                reader, layer="feed", experiment="ramp", buckets=buckets, shares=(0.3, 0.7)
            )
            for reader in READERS
        }
        return {reader: arm for reader, arm in found.items() if arm is not None}

    small, large = arms(range(100, 150)), arms(range(100, 600))
    assert small.items() < large.items()
    assert len(large) == pytest.approx(len(READERS) / 2, rel=0.03)


def test_a_smaller_holdout_is_within_a_larger_one() -> None:
    small, large = ({r for r in READERS if assignment.held_out(r, share)} for share in (0.01, 0.05))
    assert small < large
    assert len(large) == pytest.approx(0.05 * len(READERS), rel=0.1)


@given(nonce=texts, shares=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any))
def test_a_draw_takes_no_arm_without_a_chance(nonce: str, shares: list[int]) -> None:
    propensities = [share / sum(shares) for share in shares]
    assert propensities[assignment.drawn("bandit", nonce, propensities)] > 0


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.5, -0.5), ()])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        assignment.arm_of("arms", "reader", shares)
