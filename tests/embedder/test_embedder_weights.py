import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_contracts.events import KINDS
from nearfeed_core.readings import DAY_MICROS, Reading, WeightRule, weights_of
from nearfeed_embedder.dataset import Readings, profile
from nearfeed_embedder.weights import row_weights

_RULES = st.builds(
    WeightRule,
    st.dictionaries(st.sampled_from(KINDS), st.sampled_from([0.0, 0.5, 1.0, 2.0])),
    st.floats(0.5, 400),
)
_READINGS = st.builds(
    Reading,
    st.dictionaries(st.sampled_from([kind for kind in KINDS if kind != "rating"]), st.integers(0, 400)).map(
        lambda days: {kind: day * DAY_MICROS for kind, day in days.items()}
    ),
)
_RATED = st.builds(
    lambda row, day, value: Reading({**row.times, "rating": day * DAY_MICROS}, value),
    _READINGS,
    st.integers(0, 400),
    st.floats(0, 5),
)


@given(st.lists(_READINGS | _RATED, min_size=1, max_size=12), _RULES)
def test_weights_are_those_that_are_served(rows: list[Reading], rule: WeightRule) -> None:
    times = np.array([[row.times.get(kind) for kind in KINDS] for row in rows], dtype=np.float64)
    ratings = np.array([row.rating for row in rows], dtype=np.float64)
    weight, newest = row_weights(times, ratings, rule)
    counting = np.flatnonzero([row.newest_at() is not None for row in rows])
    assert not weight[np.setdiff1d(np.arange(len(rows)), counting)].any()
    if not len(counting):
        return
    assert newest[counting].tolist() == [rows[index].newest_at() for index in counting]
    expected = np.array(weights_of(rows, rule))
    row = np.zeros(len(rows), np.intp)
    readings = Readings(row, np.arange(len(rows)), newest, weight).take(counting).sorted()
    items, profiled = profile(readings, np.arange(len(readings)), rule.half_life_days)
    np.testing.assert_allclose(profiled, expected[items], rtol=1e-9)
