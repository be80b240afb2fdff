"""Rows of readings: merging, undoing, weights."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_contracts.events import KINDS, Kind
from nearfeed_core.readings import DAY_MICROS, Reading, WeightRule, weights_of

Event = tuple[Kind, int, float | None]
events = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 5), st.sampled_from([0.0, 2.5, 3.0, 5.0])).map(
        lambda event: (event[0], event[1], event[2] if event[0] == "rating" else None)
    ),
    max_size=12,
)
RULE = WeightRule()


def merge(told: Sequence[Event]) -> Reading:
    row = Reading()
    for kind, moment, value in told:
        row = row.merged(kind, moment, value)
    return row


def oracle_weight(told: Sequence[Event], newest: int, rule: WeightRule) -> float:
    """The weight by its definition, from the whole set of events at once."""
    latest = {kind: max(t for k, t, _ in told if k == kind) for kind in {k for k, _, _ in told}}
    ratings = [(t, value) for k, t, value in told if k == "rating"]
    if "hide" in latest or "report" in latest:
        return 0.0
    if ratings and min(value for t, value in ratings if t == latest["rating"]) < 3:
        return 0.0
    total = 0.0
    for kind, moment in latest.items():
        undone_at = latest.get({"like": "unlike", "save": "unsave"}.get(kind, ""), -1)
        if kind not in ("unlike", "unsave") and undone_at < moment:
            total += rule.by_kind[kind] * 2 ** ((moment - newest) / (rule.half_life_days * DAY_MICROS))
    return total


@given(told=events, data=st.data())
def test_any_order_and_repetition_gives_the_same_row(told: list[Event], data: st.DataObject) -> None:
    repeated = told + data.draw(st.lists(st.sampled_from(told), max_size=5) if told else st.just([]))
    shuffled = data.draw(st.permutations(repeated))
    assert merge(shuffled) == merge(told)


@given(told=events, newest=st.integers(5, 10))
def test_weight_is_its_definition(told: list[Event], newest: int) -> None:
    assert merge(told).weight(RULE, newest) == pytest.approx(oracle_weight(told, newest, RULE), rel=1e-12)


@given(told=events)
def test_weight_is_never_negative_and_zero_without_a_counting_time(told: list[Event]) -> None:
    row = merge(told)
    newest = row.newest_at()
    assert row.weight(RULE, 10) >= 0
    assert (newest is None) == (row.weight(RULE, 10) == 0)


@given(told=events, moment=st.integers(6, 9))
def test_like_then_unlike_leaves_what_was_before(told: list[Event], moment: int) -> None:
    before = [event for event in told if event[0] not in ("like", "unlike")]
    after = [*before, ("like", moment, None), ("unlike", moment, None)]
    assert merge(after).weight(RULE, 10) == pytest.approx(merge(before).weight(RULE, 10))
    assert merge(after).newest_at() == merge(before).newest_at()


def test_at_equal_times_the_undoing_kind_wins() -> None:
    assert merge([("unlike", 3, None), ("like", 3, None)]).newest_at() is None
    assert merge([("unlike", 3, None), ("like", 4, None)]).newest_at() == 4


def test_weights_fall_by_half_per_half_life_of_the_readers_newest() -> None:
    old, new = Reading({"read": 0}), Reading({"read": 90 * DAY_MICROS})
    assert weights_of([old, new], RULE) == pytest.approx([0.5, 1.0])
    assert weights_of([old], RULE) == pytest.approx([1.0])


def test_a_low_rating_excludes_until_a_better_one() -> None:
    low = merge([("read", 1, None), ("rating", 2, 2.0)])
    assert low.is_excluded()
    assert low.is_seen()
    better = low.merged("rating", 3, 4.0)
    assert better.weight(RULE, 3) == pytest.approx(2.0, rel=1e-9)
    assert not math.isnan(better.weight(RULE, 3))


@given(told=events)
def test_a_like_that_was_taken_back_leaves_what_was_before(told: list[Event]) -> None:
    """Whether it is seen, what counts, and its weight; `told` has no like and unlike of its own."""
    before = merge([one for one in told if one[0] not in ("like", "unlike")])
    after = merge(
        [("like", 3, None), ("unlike", 4, None)] + [one for one in told if one[0] not in ("like", "unlike")]
    )
    assert after.is_seen() == before.is_seen()
    assert after.counting_times() == before.counting_times()
    assert after.weight(RULE, 6) == before.weight(RULE, 6)
