"""Loops that do their work where the database may have changed."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, insert, select

from nearfeed_backends.sql.database import open_database
from nearfeed_contracts.tables import communities
from nearfeed_runtime import polling
from nearfeed_runtime.polling import NOT_YET, DatabaseVersion, when_changed
from nearfeed_runtime.sql import read_connection, write_transaction
from servers import fresh_database


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    yield engine
    engine.dispose()


def put(engine: Engine, community: str) -> None:
    with write_transaction(engine) as transaction:
        transaction.execute(insert(communities).values(community_id=community, created_at=1))


class Looks(threading.Event):
    """A stop event that calls the next of `between` instead of waiting, and is set after the last."""

    def __init__(self, *between: Callable[[], object]) -> None:
        super().__init__()
        self.between = list(between)

    def wait(self, timeout: float | None = None) -> bool:
        if self.between:
            self.between.pop(0)()
        else:
            self.set()
        return self.is_set()


def nothing() -> None: ...


def works_done(engine: Engine, work: Callable[[], object], *between: Callable[[], object]) -> list[int]:
    """After how many looks the work was done."""
    looks = Looks(*between)
    done: list[int] = []

    def counted() -> object:
        done.append(len(between) - len(looks.between))
        return work()

    when_changed(1.0, counted, engine, at_least=60.0)(looks)
    return done


def test_the_version_changes_with_commits_alone(engine: Engine) -> None:
    with DatabaseVersion(engine) as version:
        seen = [version.read()]
        put(engine, "a")
        seen.append(version.read())
        with read_connection(engine) as connection:
            connection.execute(select(communities)).all()
        seen.append(version.read())
        with write_transaction(engine) as transaction:
            transaction.execute(delete(communities))
            transaction.rollback()
        seen.append(version.read())
        put(engine, "b")
        seen.append(version.read())
    assert None not in seen
    first, second, third, fourth, fifth = seen
    assert len({first, second, fifth}) == 3
    assert second == third == fourth


def test_commits_of_other_processes_count(engine: Engine, tmp_path: Path) -> None:
    other = open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    with DatabaseVersion(engine) as version:
        before = version.read()
        put(other, "a")
        assert version.read() != before
    other.dispose()


def test_a_version_can_be_read_after_it_was_closed(engine: Engine) -> None:
    version = DatabaseVersion(engine)
    version.read()
    version.close()
    assert version.read() is not None
    version.close()


def test_work_is_done_at_first_and_after_changes(engine: Engine) -> None:
    done = works_done(engine, nothing, nothing, lambda: put(engine, "a"), nothing, lambda: put(engine, "b"))
    assert done == [0, 2, 4]


def test_what_the_work_itself_commits_is_looked_at_once_more(engine: Engine) -> None:
    names = iter("ab")
    assert works_done(engine, lambda: put(engine, next(names)), nothing, nothing)[:2] == [0, 1]


@pytest.mark.parametrize("failing", [lambda: 1 / 0, lambda: NOT_YET])
def test_work_that_was_not_done_is_done_at_the_next_look(
    engine: Engine, failing: Callable[[], object]
) -> None:
    attempts = iter([failing, failing, nothing, failing])
    assert works_done(engine, lambda: next(attempts)(), nothing, nothing, nothing) == [0, 1, 2]


def test_work_is_done_now_and_then_without_a_change(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(polling.time, "monotonic", lambda: now[0])

    def pass_by(seconds: float) -> Callable[[], None]:
        return lambda: now.__setitem__(0, now[0] + seconds)

    assert works_done(engine, nothing, pass_by(59), pass_by(1), pass_by(59)) == [0, 2]


@pytest.mark.server
def test_elsewhere_work_is_done_at_each_look() -> None:
    with fresh_database() as url:
        engine = open_database(url)
        assert works_done(engine, nothing, nothing, nothing) == [0, 1, 2]
        engine.dispose()
