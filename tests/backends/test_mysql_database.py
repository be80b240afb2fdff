"""The SQL back end on a MariaDB server."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from nearfeed_backends.errors import BackendSettingError
from nearfeed_backends.sql.database import open_database
from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.tables import active_space, communities, feed_pages, items, metadata
from nearfeed_runtime.sql import claim, committed, read_connection, sole_worker, upsert, write_transaction
from servers import fresh_database

pytestmark = pytest.mark.server


@pytest.fixture
def url() -> Iterator[str]:
    with fresh_database() as url:
        yield url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


def post(item_id: str, title: str = "", body: str = "", version: int = 1) -> dict[str, object]:
    return {
        "item_id": item_id,
        "version": version,
        "deleted": False,
        "community_id": "c",
        "author_id": "a",
        "title": title,
        "body": body,
        "tags": "[]",
        "published_at": 0,
    }


def counted(engine: Engine, community: str = "counter") -> int:
    with read_connection(engine) as connection:
        query = select(communities.c.created_at).where(communities.c.community_id == community)
        return connection.execute(query).scalar_one()


def test_the_migrated_schema_is_the_one_of_the_contracts(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_every_text_column_keeps_all_characters_and_compares_bytes(engine: Engine) -> None:
    query = text(
        "SELECT concat(table_name, '.', column_name) FROM information_schema.columns "
        "WHERE table_schema = database() AND table_name <> 'alembic_version' "
        "AND collation_name IS NOT NULL AND collation_name <> 'utf8mb4_bin'"
    )
    with engine.connect() as connection:
        assert list(connection.scalars(query)) == []


def test_ids_are_compared_byte_for_byte(engine: Engine) -> None:
    ids = ["a", "A", "á", "a\u0301", "🙂", "🙃", "ß", "ss", "ⅷ"]
    with engine.begin() as connection:
        connection.execute(insert(communities), [{"community_id": each, "created_at": 0} for each in ids])
    with read_connection(engine) as connection:
        for each in ids:
            query = select(communities.c.community_id).where(communities.c.community_id == each)
            assert list(connection.scalars(query)) == [each]


def test_rows_larger_than_a_statement_go_in_several(engine: Engine) -> None:
    body = "🙂%s;--'\"\\" * 4_000
    rows = [post(f"p{n}", "VALUES (%s) ON DUPLICATE KEY", body) for n in range(200)]
    assert sum(len(str(row["body"]).encode()) for row in rows) > 8_000_000
    for version in (1, 2):
        with engine.begin() as connection:
            upsert(connection, items, [{**row, "version": version} for row in rows])
    with read_connection(engine) as connection:
        found = connection.execute(select(items.c.item_id, items.c.version, items.c.body)).all()
    assert {tuple(row) for row in found} == {(row["item_id"], 2, body) for row in rows}


def test_foreign_keys_hold(engine: Engine) -> None:
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(active_space).values(slot=1, space="nowhere", activated_at=0))


def test_a_reader_keeps_its_snapshot_and_waits_for_nobody(engine: Engine) -> None:
    with engine.begin() as writer:
        writer.execute(insert(communities).values(community_id="counter", created_at=0))
    with read_connection(engine) as reader, engine.begin() as writer:
        writer.execute(update(communities).values(created_at=1))
        assert reader.scalar(select(communities.c.created_at)) == 0
        writer.commit()
        assert reader.scalar(select(communities.c.created_at)) == 0
    assert counted(engine) == 1


def test_a_writer_reads_what_was_committed_before_its_statement(engine: Engine) -> None:
    with engine.begin() as one, engine.begin() as other:
        assert one.execute(select(communities)).all() == []
        other.execute(insert(communities).values(community_id="new", created_at=0))
        other.commit()
        assert len(one.execute(select(communities)).all()) == 1


def test_eight_writers_of_one_row_that_is_not_there_yet_lose_nothing(engine: Engine) -> None:
    unmade = {"community_id": "counter", "created_at": 0}

    def increment(transaction) -> None:
        claim(transaction, communities, [unmade])
        now = transaction.scalar(select(communities.c.created_at))
        upsert(transaction, communities, [{**unmade, "created_at": now + 1}])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: committed(engine, increment), range(80)))
    assert counted(engine) == 80


def test_a_deadlock_is_tried_again(engine: Engine) -> None:
    with write_transaction(engine) as transaction:
        rows = [{"community_id": name, "created_at": 0} for name in ("one", "two")]
        transaction.execute(insert(communities), rows)
    met = threading.Barrier(2)
    tries: list[str] = []

    def both(order: tuple[str, str]) -> None:
        def work(transaction) -> None:
            tries.append(order[0])
            for number, name in enumerate(order):
                row = communities.c.community_id == name
                transaction.execute(
                    update(communities).where(row).values(created_at=communities.c.created_at + 1)
                )
                if number == 0 and tries.count(order[0]) == 1:
                    met.wait(30)

        committed(engine, work)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(both, [("one", "two"), ("two", "one")]))
    assert len(tries) == 3
    assert (counted(engine, "one"), counted(engine, "two")) == (2, 2)


def test_a_connection_that_is_killed_is_tried_again(engine: Engine, url: str) -> None:
    tries = []

    def work(transaction) -> None:
        tries.append(transaction.scalar(text("SELECT connection_id()")))
        transaction.execute(insert(communities).values(community_id=f"try{len(tries)}", created_at=0))
        if len(tries) == 1:
            with engine.connect() as other:
                other.execute(text(f"KILL {tries[0]}"))
        transaction.execute(insert(communities).values(community_id="counter", created_at=len(tries)))

    committed(engine, work)
    assert len(set(tries)) == 2
    assert counted(engine) == 2
    with read_connection(engine) as connection:
        assert set(connection.scalars(select(communities.c.community_id))) == {"try2", "counter"}


def test_work_for_one_process_is_done_by_one(engine: Engine, url: str) -> None:
    other = open_database(url)
    with (
        sole_worker(engine, "upkeep") as first,
        sole_worker(other, "upkeep") as second,
        sole_worker(other, "relay") as different,
    ):
        assert (first, second, different) == (True, False, True)
    with sole_worker(other, "upkeep") as after:
        assert after
    other.dispose()


def test_several_processes_may_open_a_new_database_at_once(url: str) -> None:
    program = (
        "import sys; from nearfeed_backends.sql.database import open_database; open_database(sys.argv[1])"
    )
    command = [sys.executable, "-c", program, url]
    started = [subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE) for _ in range(4)]
    told = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0, 0], told
    engine = create_engine(url)
    assert len(inspect(engine).get_table_names()) == len(metadata.tables) + 1
    engine.dispose()


def test_a_first_migration_that_broke_off_is_done_again(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    metadata.tables["items"].create(engine)
    feed_pages.create(engine)
    engine.dispose()
    open_database(url).dispose()
    engine = open_database(url)
    assert len(inspect(engine).get_table_names()) == len(metadata.tables) + 1
    engine.dispose()


@pytest.mark.parametrize("filled", ["items", "invoices"])
def test_tables_of_something_else_are_left_alone(url: str, filled: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text(f"CREATE TABLE {filled} (number INTEGER)"))
        connection.execute(text(f"INSERT INTO {filled} VALUES (1)"))
    with pytest.raises(NearfeedError, match=r"NEARFEED_DATABASE_URL.*name an empty database"):
        open_database(url)
    with engine.connect() as connection:
        assert connection.scalar(text(f"SELECT number FROM {filled}")) == 1
    engine.dispose()


def test_a_newer_schema_is_refused(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NearfeedError, match=r"NEARFEED_DATABASE_URL: .* newer Nearfeed .*9999.*; install"):
        open_database(url)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("nearfeed:nearfeed@", "nearfeed:wrong@"), "Access denied.*; correct the user and password"),
        (("/nearfeed_", "/nearfeed_not_"), "Unknown database.*; make it with CREATE DATABASE"),
        (("/nearfeed_", "/?x="), "names no database"),
    ],
)
def test_a_url_that_the_server_refuses_gets_one_sentence(
    url: str, change: tuple[str, str], sentence: str
) -> None:
    with pytest.raises(BackendSettingError, match=f"^NEARFEED_DATABASE_URL: .*{sentence}") as raised:
        open_database(url.replace(*change, 1))
    assert "wrong" not in str(raised.value)
