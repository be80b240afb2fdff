"""A database of the first release is brought to the newest schema with all that it holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, insert, inspect, select, text

from nearfeed_backends.opening import open_database
from nearfeed_backends.sql import migrations
from nearfeed_contracts.tables import outcomes
from nearfeed_runtime.changes import next_change, raise_revisions
from servers import fresh_database


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.server)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/nearfeed.db"
        return
    with fresh_database() as url:
        yield url


def first_release(url: str) -> Engine:
    engine = create_engine(url)
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO positions VALUES ('recommender', 'interactions', 0, 42)"))
        connection.execute(text("INSERT INTO imports VALUES ('abc', 'items', 10, 1, 1, 5)"))
        connection.execute(
            text(
                "INSERT INTO items VALUES "
                "('a', 1, 0, 'c', 'u', 'title', '', '[]', NULL, NULL, 7), "
                "('b', 2, 1, 'c', '', '', '', '[]', NULL, NULL, 8)"
            )
        )
        connection.execute(text("INSERT INTO memberships VALUES ('u', 'c', 3), ('u', 'd', 4)"))
        connection.execute(text("INSERT INTO user_vectors VALUES ('s', 'v', '', 0, 1)"))
    return engine


def test_positions_and_imports_are_kept(url: str) -> None:
    first_release(url).dispose()
    engine = open_database(url)
    with engine.begin() as connection:
        assert tuple(connection.execute(text("SELECT * FROM positions")).one()) == (
            "recommender",
            "interactions",
            0,
            42,
        )
        assert tuple(connection.execute(text("SELECT * FROM imports")).one()) == (
            "abc",
            "items",
            10,
            1,
            1,
            5,
            None,
        )
        connection.execute(text(f"INSERT INTO positions VALUES ('app-topics', '{'t' * 249}', 0, 1)"))
        assert migrations.current_revision(connection) == migrations.HEAD
    engine.dispose()


def test_posts_are_numbered(url: str) -> None:
    first_release(url).dispose()
    engine = open_database(url)
    with engine.begin() as connection:
        query = text("SELECT item_id, published_at, change_id FROM items ORDER BY item_id")
        assert [tuple(row) for row in connection.execute(query)] == [("a", 7, 1), ("b", 8, 1)]
        assert next_change(connection, "items") == 2
    engine.dispose()


def test_users_have_a_revision(url: str) -> None:
    first_release(url).dispose()
    engine = open_database(url)
    with engine.begin() as connection:
        query = text("SELECT user_id, revision FROM user_revisions ORDER BY user_id")
        assert [tuple(row) for row in connection.execute(query)] == [("u", 1), ("v", 1)]
        raise_revisions(connection, ["v", "w"])
        assert [row.revision for row in connection.execute(query)][:2] == [1, 2]
    engine.dispose()


def test_attributions_get_their_new_names(url: str) -> None:
    engine = first_release(url)
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        command.upgrade(config, "0005")
    old = ["told", "window", "none", "unknown", "forged"]
    with engine.begin() as connection:
        row = {"user_id": "u", "kind": "click", "occurred_at": 1}
        connection.execute(insert(outcomes), [row | {"item_id": name, "attribution": name} for name in old])
    engine.dispose()
    engine = open_database(url)
    with engine.connect() as connection:
        found = dict(connection.execute(select(outcomes.c.item_id, outcomes.c.attribution)).all())
    assert found == {
        "told": "explicit",
        "window": "view_through",
        "none": "unattributed",
        "unknown": "not_in_response",
        "forged": "invalid_request_id",
    }
    engine.dispose()


def test_an_upgrade_that_was_broken_off_is_ended(url: str) -> None:
    engine = first_release(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE imports ADD COLUMN read_up_to TEXT"))
    engine.dispose()
    engine = open_database(url)
    assert "read_up_to" in {column["name"] for column in inspect(engine).get_columns("imports")}
    engine.dispose()
