import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from nearfeed_backends.errors import BackendSettingError
from nearfeed_backends.sql import database, migrations
from nearfeed_backends.sql.database import open_database
from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.tables import READ_ONLY_OPTION, active_space, communities, metadata


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "nearfeed.db"


@pytest.fixture
def engine(file: Path):
    engine = open_database(f"sqlite:///{file}")
    yield engine
    engine.dispose()


def reading(engine: Engine):
    return engine.execution_options(**{READ_ONLY_OPTION: True}).connect()


def test_the_migrated_schema_is_the_one_of_the_contracts(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_what_was_written_is_there_after_reopening(engine: Engine, file: Path) -> None:
    with engine.begin() as connection:
        connection.execute(insert(communities).values(community_id="Æ", created_at=7))
    engine.dispose()
    again = open_database(f"sqlite:///{file}")
    with reading(again) as connection:
        assert connection.execute(select(communities)).all() == [("Æ", 7)]
    again.dispose()


def test_ids_are_compared_byte_for_byte(engine: Engine) -> None:
    ids = ["a", "A", "á", "a\u0301"]
    with engine.begin() as connection:
        connection.execute(insert(communities), [{"community_id": each, "created_at": 0} for each in ids])
        found = connection.scalars(
            select(communities.c.community_id).where(communities.c.community_id == "a")
        )
        assert found.all() == ["a"]


def test_the_pragmas_hold_on_every_connection(engine: Engine) -> None:
    connections = [engine.connect() for _ in range(3)]
    for connection in connections:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
        assert pragmas == ["wal", 2, 1, 10_000]
        connection.close()


def test_foreign_keys_hold(engine: Engine) -> None:
    row = {"slot": 1, "space": "nowhere", "activated_at": 0}
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(active_space).values(**row))


def test_writers_that_read_first_wait_for_each_other_and_lose_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(communities).values(community_id="counter", created_at=0))

    def increment(_: int) -> None:
        with engine.begin() as connection:
            now = connection.scalar(select(communities.c.created_at))
            connection.execute(update(communities).values(created_at=now + 1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(increment, range(80)))
    with reading(engine) as connection:
        assert connection.scalar(select(communities.c.created_at)) == 80


def test_a_reader_waits_for_no_writer_and_keeps_its_snapshot(engine: Engine) -> None:
    with reading(engine) as reader, engine.begin() as writer:
        writer.execute(insert(communities).values(community_id="new", created_at=0))
        assert reader.execute(select(communities)).all() == []
        writer.commit()
        assert reader.execute(select(communities)).all() == []
    with reading(engine) as reader:
        assert len(reader.execute(select(communities)).all()) == 1


def test_a_migration_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'broken.db'}"
    broken = database._make_engine(url)
    with broken.connect() as connection:
        migrations.migrate(connection)
        assert inspect(connection).has_table("items")
        connection.rollback()
    with broken.connect() as connection:
        assert inspect(connection).get_table_names() == []
    broken.dispose()
    open_database(url).dispose()


def test_several_may_open_a_new_database_at_once(file: Path) -> None:
    start = threading.Barrier(4)

    def open_and_count(_: int) -> int:
        start.wait()
        engine = open_database(f"sqlite:///{file}")
        tables = len(inspect(engine).get_table_names())
        engine.dispose()
        return tables

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(open_and_count, range(4))) == {len(metadata.tables) + 1}


def test_a_new_database_waits_for_the_one_that_writes_to_it(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.execute, ["COMMIT"])
    release.start()
    open_database(f"sqlite:///{file}").dispose()
    release.join()
    other.close()


def test_a_newer_schema_is_refused_and_left_alone(engine: Engine, file: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NearfeedError, match=r"NEARFEED_DATABASE_URL: .* newer Nearfeed .*9999.*; install"):
        open_database(f"sqlite:///{file}")
    with engine.connect() as connection:
        assert migrations.current_revision(connection) == "9999"


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    other = database._make_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with other.begin() as connection:
        connection.execute(text("CREATE TABLE invoices (number INTEGER)"))
    with pytest.raises(NearfeedError, match=r"NEARFEED_DATABASE_URL.* invoices .*name an empty database"):
        open_database(f"sqlite:///{tmp_path / 'other.db'}")
    other.dispose()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:///{folder}", "is a folder; name a file in it"),
        ("sqlite:///{folder}/text.db", "file is not a database.*; name another file"),
        ("sqlite:///{folder}/text.db/below/nearfeed.db", "cannot be made .*; name one that can"),
        ("sqlite:////proc/nearfeed/nearfeed.db", "cannot be made .*; name one that can"),
        ("sqlite://", "names no file; use sqlite:////PATH"),
        ("postgresql://host/db", "no back end 'postgresql'; use one of sqlite"),
        ("no url", "no back end 'no url'; use one of sqlite"),
    ],
)
def test_a_url_that_leads_nowhere_gets_one_sentence(tmp_path: Path, url: str, sentence: str) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(BackendSettingError, match=f"^NEARFEED_DATABASE_URL: .*{sentence}") as raised:
        open_database(url.format(folder=tmp_path))
    assert str(raised.value).count("\n") == 0


def test_a_damaged_database_gets_one_sentence(engine: Engine, file: Path) -> None:
    engine.dispose()
    content = bytearray(file.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    file.write_bytes(content)
    with pytest.raises(
        BackendSettingError, match=r"NEARFEED_DATABASE_URL: .*; restore the file from a backup"
    ):
        open_database(f"sqlite:///{file}")
