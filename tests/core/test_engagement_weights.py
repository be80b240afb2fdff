"""Weights of all rows of a user at once, against the weight of each row by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_contracts.events import KINDS
from nearfeed_core.engagements import Values, engagements_of, weights_of_rows
from nearfeed_core.readings import DAY_MICROS, Reading, WeightRule, weights_of

BASE = 1_700_000_000_000_000
moments = st.integers(BASE - 400 * DAY_MICROS, BASE)
readings = st.lists(
    st.builds(
        Reading,
        st.dictionaries(st.sampled_from(KINDS), moments | st.sampled_from([BASE, BASE - 1])),
        st.sampled_from([None, 1.0, 3.0, 5.0]),
    ),
    max_size=12,
)
rules = st.builds(
    WeightRule,
    st.dictionaries(st.sampled_from(KINDS), st.floats(0, 10)),
    st.floats(0.5, 1_000),
)


def arrays_of(rows: list[Reading]) -> tuple[Values, Values]:
    times = [[row.times.get(kind, np.nan) for kind in KINDS] for row in rows]
    ratings = [np.nan if row.rating is None else row.rating for row in rows]
    return np.array(times, np.float64).reshape(len(rows), len(KINDS)), np.array(ratings)


@given(rows=readings, rule=rules)
def test_weights_of_rows_are_those_of_readings(rows: list[Reading], rule: WeightRule) -> None:
    counting = engagements_of(*arrays_of(rows)).counting
    assert weights_of_rows(counting, rule) == pytest.approx(weights_of(rows, rule), rel=1e-12, abs=1e-300)


@given(rows=readings)
def test_the_newest_time_that_counts_is_that_of_the_reading(rows: list[Reading]) -> None:
    newest = engagements_of(*arrays_of(rows)).newest
    assert [None if np.isnan(at) else int(at) for at in newest] == [row.newest_at() for row in rows]


def test_no_rows_have_no_weights() -> None:
    assert weights_of_rows(np.empty((0, len(KINDS))), WeightRule()).shape == (0,)
