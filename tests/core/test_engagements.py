"""Engagements as arrays say, row by row, what readings say of one row."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_contracts.events import KINDS, Kind
from nearfeed_core.engagements import engagements_of, merge_event, times_after, weights_of_rows
from nearfeed_core.readings import DAY_MICROS, Reading, WeightRule, weights_of

Event = tuple[Kind, int, float | None]
START = 1_790_000_000_000_000

moments = st.one_of(st.integers(0, 4), st.integers(START, START + 400 * DAY_MICROS))
ratings = st.sampled_from([0.0, 2.9, 3.0, 5.0])
events = st.tuples(st.sampled_from(KINDS), moments, ratings).map(
    lambda event: (event[0], event[1], event[2] if event[0] == "rating" else None)
)
histories = st.lists(st.lists(events, max_size=10), max_size=6)
rules = st.builds(
    WeightRule,
    by_kind=st.dictionaries(st.sampled_from(KINDS), st.floats(0, 4), max_size=len(KINDS)),
    half_life_days=st.floats(0.5, 400),
)
quick = settings(max_examples=150, deadline=None)


def merged(told: Sequence[Event]) -> Reading:
    row = Reading()
    for kind, moment, value in told:
        row = row.merged(kind, moment, value)
    return row


def arrays_of(rows: Sequence[Reading]) -> tuple[np.ndarray, np.ndarray]:
    times = [[row.times.get(kind, np.nan) for kind in KINDS] for row in rows]
    values = [np.nan if row.rating is None else row.rating for row in rows]
    return np.array(times, np.float64).reshape(len(rows), len(KINDS)), np.array(values, np.float64)


def assert_same(times: np.ndarray, values: np.ndarray, rows: Sequence[Reading]) -> None:
    expected_times, expected_values = arrays_of(rows)
    np.testing.assert_array_equal(times, expected_times)
    np.testing.assert_array_equal(values, expected_values)


@quick
@given(told=histories)
def test_each_row_has_what_its_reading_has(told: list[list[Event]]) -> None:
    rows = [merged(each) for each in told]
    found = engagements_of(*arrays_of(rows))
    assert found.seen.tolist() == [row.is_seen() for row in rows]
    assert found.excluded.tolist() == [row.is_excluded() for row in rows]
    counting = [[row.counting_times().get(kind, np.nan) for kind in KINDS] for row in rows]
    np.testing.assert_array_equal(found.counting, np.array(counting).reshape(len(rows), len(KINDS)))
    newest = [np.nan if row.newest_at() is None else row.newest_at() for row in rows]
    np.testing.assert_array_equal(found.newest, np.array(newest, np.float64))


@quick
@given(told=histories, rule=rules)
def test_weights_are_those_of_the_readings(told: list[list[Event]], rule: WeightRule) -> None:
    rows = [merged(each) for each in told]
    weights = weights_of_rows(engagements_of(*arrays_of(rows)).counting, rule)
    assert weights.tolist() == pytest.approx(weights_of(rows, rule), rel=1e-12, abs=1e-300)


@quick
@given(told=histories, moment=moments)
def test_what_a_moment_leaves_is_what_it_leaves_of_the_readings(told: list[list[Event]], moment: int) -> None:
    rows = [merged(each) for each in told]
    times, values = times_after(*arrays_of(rows), moment)
    assert_same(times, values, [row.after(moment) for row in rows])


@quick
@given(told=st.lists(events, max_size=10), data=st.data())
def test_events_merge_to_the_reading_in_any_order_and_repetition(
    told: list[Event], data: st.DataObject
) -> None:
    repeated = told + data.draw(st.lists(st.sampled_from(told), max_size=4) if told else st.just([]))
    times, value = np.full(len(KINDS), np.nan), np.nan
    for kind, at, given_value in data.draw(st.permutations(repeated)):
        value = merge_event(times, value, kind, at, given_value)
    assert_same(times[None], np.array([value]), [merged(told)])


@quick
@given(before=st.lists(events, max_size=6), later=st.lists(events, max_size=6), moment=moments)
def test_a_row_may_be_cut_before_or_after_later_events_come(
    before: list[Event], later: list[Event], moment: int
) -> None:
    (times,), (value,) = times_after(*arrays_of([merged(before)]), moment)
    for kind, at, given_value in later:
        if at > moment:
            value = merge_event(times, value, kind, at, given_value)
    whole = merged([*before, *later]).after(moment)
    assert_same(times[None], np.array([value]), [whole])
