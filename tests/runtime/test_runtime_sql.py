"""Transactions that meet others."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, insert, select
from sqlalchemy.exc import OperationalError

from nearfeed_backends.sql import database
from nearfeed_contracts.tables import communities, memberships
from nearfeed_runtime.sql import committed, read_connection, rows_by_key, write_transaction


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """SQLite that gives a lock up almost at once."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.01)
    engine = database.open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    yield engine
    engine.dispose()


def make(transaction: Connection) -> None:
    transaction.execute(insert(communities).values(community_id="c", created_at=1))


def test_a_transaction_that_found_sqlite_locked_is_tried_again(engine: Engine) -> None:
    refused = threading.Event()
    event.listen(engine, "handle_error", lambda _: refused.set())
    with write_transaction(engine) as holder:
        worker = threading.Thread(target=committed, args=(engine, make))
        worker.start()
        assert refused.wait(10)
        holder.commit()
    worker.join(10)
    with read_connection(engine) as connection:
        assert list(connection.scalars(select(communities.c.community_id))) == ["c"]


def test_a_lock_that_never_comes_free_is_told(engine: Engine) -> None:
    with write_transaction(engine), pytest.raises(OperationalError, match="locked"):
        committed(engine, make)


def test_rows_are_found_by_keys_of_several_columns(engine: Engine) -> None:
    rows = [{"user_id": f"u{n % 3}", "community_id": f"c{n}", "joined_at": n} for n in range(600)]
    with write_transaction(engine) as transaction:
        transaction.execute(insert(memberships), rows)
    columns = (memberships.c.user_id, memberships.c.community_id, memberships.c.joined_at)
    keys = {("u0", "c0"), ("u1", "c0"), ("nobody", "c1"), *((f"u{n % 3}", f"c{n}") for n in range(100, 500))}
    with read_connection(engine) as connection:
        found = set(rows_by_key(connection, columns, keys))
        assert list(rows_by_key(connection, columns, set())) == []
    assert found == {("u0", "c0", 0), *((f"u{n % 3}", f"c{n}", n) for n in range(100, 500))}


def test_rows_are_found_by_keys_through_the_index(engine: Engine) -> None:
    """SQLite would read the whole table for tuples in a list."""
    plans: list[str] = []

    def explain(connection: Connection, _cursor: object, statement: str, values: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            plan = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.extend(row[3] for row in plan)

    event.listen(engine, "before_cursor_execute", explain)
    columns = (memberships.c.user_id, memberships.c.community_id)
    with read_connection(engine) as connection:
        list(rows_by_key(connection, columns, {(f"u{n}", f"c{n}") for n in range(250)}))
    assert any(plan.startswith("SEARCH memberships USING") for plan in plans)
    assert not any(plan.startswith("SCAN") for plan in plans)
