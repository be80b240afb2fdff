"""Transactions that meet others."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, insert, select
from sqlalchemy.exc import OperationalError

from nearfeed_backends import database
from nearfeed_contracts.tables import communities
from nearfeed_runtime.sql import committed, reading, writing


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
    with writing(engine) as holder:
        worker = threading.Thread(target=committed, args=(engine, make))
        worker.start()
        assert refused.wait(10)
        holder.commit()
    worker.join(10)
    with reading(engine) as connection:
        assert list(connection.scalars(select(communities.c.community_id))) == ["c"]


def test_a_lock_that_never_comes_free_is_told(engine: Engine) -> None:
    with writing(engine), pytest.raises(OperationalError, match="locked"):
        committed(engine, make)
