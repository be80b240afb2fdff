"""Keys of the future: they are not where the next import goes on, and nothing is passed by for it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_recommender.ingest.sources import TimeSource
from nearfeed_standalone.importing.present import held_to

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
NAIVE = NOW.replace(tzinfo=None)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def said(**settings: Any) -> TimeSource:
    return TimeSource.model_validate({"from": "at"} | settings)


@pytest.mark.parametrize(
    ("first", "source", "held"),
    [
        (NOW + HOUR, None, NOW - SECOND),
        (NAIVE + HOUR, None, NAIVE - 12 * HOUR - SECOND),
        (NAIVE + 3 * HOUR, said(zone="Europe/Berlin"), NAIVE + 2 * HOUR - SECOND),
        (NAIVE, said(zone="America/New_York"), NAIVE - 4 * HOUR - SECOND),
        (date(2099, 1, 1), None, date(2026, 6, 30)),
        (4_070_908_800, said(), 1_782_907_199),
        (4_070_908_800_000, said(time="ms"), 1_782_907_199_000),
        (Decimal("4070908800.5"), said(time="s"), 1_782_907_199),
    ],
)
def test_a_time_that_has_not_come(first: Any, source: Any, held: Any) -> None:
    assert held_to(NOW, (first, 7), source) == (held,)


@pytest.mark.parametrize(
    ("first", "source"),
    [
        (NOW, None),
        (NAIVE, None),
        (NAIVE + HOUR, said(zone="Europe/Berlin")),
        (date(2026, 7, 1), None),
        (1_782_907_200, said()),
        (4_070_908_800, None),
        ("2099-01-01", said(zone="UTC")),
        (b"\xff", None),
    ],
)
def test_what_has_come_or_is_no_time_is_left(first: Any, source: Any) -> None:
    assert held_to(NOW, (first, 7), source) == (first, 7)


@given(ahead=st.timedeltas(SECOND, timedelta(days=9_000)), zone=st.integers(-12, 14))
def test_rows_that_come_next_are_behind_it_in_every_zone(ahead: timedelta, zone: int) -> None:
    coming = (NOW + zone * HOUR).replace(tzinfo=None)
    assert (coming,) > held_to(NOW, (NAIVE + ahead, 7), None)
