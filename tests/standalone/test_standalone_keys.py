"""Keys of an app's rows: kept exactly, and compared in SQL as tuples are."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import column, create_engine, select, text

from nearfeed_standalone.importing.keys import after, decode_key, encode_key, stepped_back, up_to

values = (
    st.integers(-(2**60), 2**60)
    | st.text()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.binary()
)
small = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))


@given(st.lists(values, min_size=1, max_size=4))
def test_a_key_is_kept_exactly(key: list[Any]) -> None:
    kept = decode_key(encode_key(tuple(key)))
    assert kept == tuple(key)
    assert [type(value) for value in kept] == [type(value) for value in key]


@pytest.mark.parametrize("value", [None, {}, [1], timedelta(1)])
def test_what_has_no_order_is_no_key(value: Any) -> None:
    with pytest.raises(ValueError, match="is no key"):
        encode_key((value,))


@given(rows=st.sets(small), start=small, length=st.integers(1, 3))
def test_sql_compares_as_tuples_do(rows: set[tuple[int, ...]], start: tuple[int, ...], length: int) -> None:
    engine = create_engine("sqlite://")
    names = [column(name) for name in "abc"]
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a, b, c)"))
        for row in rows:
            connection.execute(text("INSERT INTO t VALUES (:a, :b, :c)"), dict(zip("abc", row, strict=True)))
        query = select(*names).select_from(text("t"))
        behind = {tuple(row) for row in connection.execute(query.where(after(names, start[:length])))}
        before = {tuple(row) for row in connection.execute(query.where(up_to(names, start[:length])))}
    assert behind == {row for row in rows if row[:length] > start[:length]}
    assert before == rows - behind
    engine.dispose()


NOON = datetime(2024, 1, 1, 12)


@pytest.mark.parametrize(
    ("key", "overlap", "start"),
    [
        ((NOON, 7), None, (NOON - timedelta(minutes=10),)),
        ((NOON, 7), 60, (NOON - timedelta(minutes=1),)),
        ((NOON, 7), 0, (NOON, 7)),
        ((1_000, 7), None, (1_000, 7)),
        ((1_000, 7), 0, (1_000, 7)),
        ((1_000, 7), 0.5, (999,)),
        ((1_000, 7), 1.5, (998,)),
        ((1_000, 7), 5, (995,)),
        ((Decimal("10.5"), 7), 5, (Decimal("5.5"),)),
        (("abc",), None, ("abc",)),
        ((date(2024, 1, 1), 7), 0, (date(2024, 1, 1), 7)),
    ],
)
def test_a_finished_import_begins_again_a_little_before_its_end(key: Any, overlap: Any, start: Any) -> None:
    assert stepped_back(key, overlap) == start


@given(
    rows=st.sets(small),
    last=small,
    overlap=st.none() | st.integers(0, 2) | st.floats(0, 2, allow_subnormal=False),
)
def test_no_overlap_leaves_out_what_came_after_the_last_row(
    rows: set[tuple[int, ...]], last: tuple[int, ...], overlap: float | None
) -> None:
    start = stepped_back(last, overlap)
    assert all(row[: len(start)] > start for row in rows if row > last)


def test_text_has_no_overlap() -> None:
    with pytest.raises(ValueError, match="no overlap"):
        stepped_back(("abc",), 5)
