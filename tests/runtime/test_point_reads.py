"""Reads past SQLAlchemy's statements find what its selects find, and fail as they do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, insert
from sqlalchemy.exc import DBAPIError

from nearfeed_backends.opening import open_database
from nearfeed_contracts.tables import communities
from nearfeed_runtime.point_reads import read_rows
from nearfeed_runtime.sql import write_transaction

SQL = "SELECT created_at FROM communities WHERE community_id = ?"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('points')}/nearfeed.db")
    yield engine
    engine.dispose()


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(), min_size=1, max_size=5))
def test_values_come_back_as_they_went(engine: Engine, values: list[object]) -> None:
    columns = ", ".join("?" * len(values))
    assert read_rows(engine, f"SELECT {columns}", values) == [tuple(values)]


def test_what_was_committed_before_is_seen(engine: Engine) -> None:
    for number in range(3):
        with write_transaction(engine) as transaction:
            transaction.execute(insert(communities).values(community_id=f"new{number}", created_at=number))
        assert read_rows(engine, SQL, [f"new{number}"]) == [(number,)]


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
