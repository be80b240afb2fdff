"""Reads past SQLAlchemy's statements find what its selects find, and fail as they do."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, insert, select
from sqlalchemy.exc import DBAPIError

from nearfeed_backends.opening import open_database
from nearfeed_contracts.tables import communities
from nearfeed_runtime.point_reads import read_by_keys, read_rows
from nearfeed_runtime.sql import reading, writing

SQL = "SELECT community_id, created_at FROM communities WHERE community_id IN"
KNOWN = [f"c'{number}?%s" for number in range(700)]
UNKNOWN = [f"nobody{number}" for number in range(700)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('points')}/nearfeed.db")
    with writing(engine) as transaction:
        rows = [{"community_id": name, "created_at": at} for at, name in enumerate(KNOWN)]
        transaction.execute(insert(communities), rows)
    yield engine
    engine.dispose()


def selected(engine: Engine, keys: list[str]) -> list[tuple[str, int]]:
    query = select(communities).where(communities.c.community_id.in_(keys))
    with reading(engine) as connection:
        return sorted(tuple(row) for row in connection.execute(query))


@settings(max_examples=40, deadline=None)
@given(sizes=st.tuples(st.integers(0, 700), st.integers(0, 700)), random=st.randoms(use_true_random=False))
def test_rows_of_any_number_of_keys_are_those_of_a_select(
    engine: Engine, sizes: tuple[int, int], random: Random
) -> None:
    keys = [*KNOWN[: sizes[0]], *UNKNOWN[: sizes[1]]]
    random.shuffle(keys)
    assert sorted(read_by_keys(engine, SQL, keys)) == selected(engine, keys)


@pytest.mark.parametrize("size", [0, 1, 2, 4, 5, 16, 17, 511, 512, 513, 1_025])
def test_every_key_is_asked_for(engine: Engine, size: int) -> None:
    keys = (KNOWN + UNKNOWN)[:size]
    assert sorted(read_by_keys(engine, SQL, keys)) == selected(engine, keys)


def test_there_are_statements_of_a_few_lengths_alone(engine: Engine) -> None:
    asked: set[int] = set()

    def trace(connection: Any, _record: object, _proxy: object) -> None:
        connection.set_trace_callback(lambda sql: asked.add(sql.split(" IN ")[1].count("new")))

    event.listen(engine, "checkout", trace)
    for size in range(1, 600, 3):
        read_by_keys(engine, SQL, [f"new{number}" for number in range(size)])
    event.remove(engine, "checkout", trace)
    engine.dispose()
    assert asked == {1, 4, 16, 32, 64, 128, 256, 512}


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(), min_size=1, max_size=5))
def test_values_come_back_as_they_went(engine: Engine, values: list[object]) -> None:
    columns = ", ".join("?" * len(values))
    assert read_rows(engine, f"SELECT {columns}", values) == [tuple(values)]


def test_what_was_committed_before_is_seen(engine: Engine) -> None:
    for number in range(3):
        with writing(engine) as transaction:
            transaction.execute(insert(communities).values(community_id=f"new{number}", created_at=number))
        assert read_by_keys(engine, SQL, [f"new{number}"]) == [(f"new{number}", number)]


@pytest.mark.parametrize(("sql", "values"), [("SELECT nothing FROM nowhere", ()), ("SELECT ?", ())])
def test_an_error_is_that_of_sqlalchemy_and_leaves_the_connection(
    engine: Engine, sql: str, values: tuple[()]
) -> None:
    for _ in range(3):
        with pytest.raises(DBAPIError) as told:
            read_rows(engine, sql, values)
        assert not told.value.connection_invalidated
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert read_rows(engine, "SELECT 1", ()) == [(1,)]


def test_a_lost_connection_is_told_and_replaced(engine: Engine) -> None:
    def lose(connection: Any, _record: object, _proxy: object) -> None:
        connection.close()

    event.listen(engine, "checkout", lose)
    with pytest.raises(DBAPIError) as told:
        read_rows(engine, "SELECT 1", ())
    event.remove(engine, "checkout", lose)
    assert told.value.connection_invalidated
    assert read_rows(engine, "SELECT 1", ()) == [(1,)]


def test_a_database_that_cannot_be_reached_is_an_error_of_sqlalchemy(tmp_path: Path) -> None:
    unreachable = create_engine(f"sqlite:///{tmp_path}/no folder/nearfeed.db")
    with pytest.raises(DBAPIError):
        read_rows(unreachable, "SELECT 1", ())
