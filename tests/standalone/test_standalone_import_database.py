"""Imports from an app's own database: paging by key, going on after a break, what is new, what is wrong."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from tests.standalone.imported import logged, refused, rows_of

from nearfeed_backends.opening import open_database, open_log
from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.fields import now_micros, to_micros
from nearfeed_contracts.tables import communities, imports, items, memberships, outbox
from nearfeed_recommender.ingest.map_file import MapError
from nearfeed_runtime.operations import Progress, Said
from nearfeed_standalone.importing.app_engine import AppDatabaseError
from nearfeed_standalone.importing.operation import Importer

SCHEMA = """
CREATE TABLE posts (id INTEGER PRIMARY KEY, board TEXT, member_id INTEGER, headline TEXT, words TEXT,
                    created_at TEXT, updated_at INTEGER, deleted_at INTEGER);
CREATE TABLE members (member_id INTEGER, board TEXT, since INTEGER, PRIMARY KEY (member_id, board));
CREATE TABLE reactions (id INTEGER PRIMARY KEY, post_id INTEGER, member_id INTEGER, action_type INTEGER,
                        at INTEGER);
"""
MAP = """
items:
  query: SELECT * FROM posts WHERE deleted_at IS NULL AND headline NOT LIKE '%draft:%'  -- no drafts
  key: [updated_at, id]
  overlap: 5
  page: {page}
  item_id: id
  community_id: board
  author_id: member_id
  title: headline
  tags: {{from: words, separator: ","}}
  language: {{constant: en}}
  published_at: {{from: created_at, zone: Europe/Berlin}}
deletions:
  query: SELECT id, deleted_at FROM posts WHERE deleted_at IS NOT NULL;
  key: [deleted_at, id]
  item_id: id
memberships:
  table: members
  key: [member_id, board]
  page: {page}
  user_id: member_id
  community_id: board
  joined_at: {{from: since, time: s}}
interactions:
  table: reactions
  key: id
  page: {page}
  user_id: member_id
  item_id: post_id
  kind: {{from: action_type, values: {{1: read, 2: like}}}}
  occurred_at: {{from: at, time: ms}}
"""
SECOND = 1_000_000
App = Callable[..., None]


@pytest.fixture
def app(tmp_path: Path) -> App:
    """Runs statements on the app's database, which has its tables."""
    with sqlite3.connect(tmp_path / "app.db") as connection:
        connection.executescript(SCHEMA)
    connection.close()
    return _app_of(tmp_path)


def _app_of(folder: Path) -> App:
    def run(statement: str, rows: Sequence[Sequence[Any]] = ((),)) -> None:
        connection = sqlite3.connect(folder / "app.db")
        connection.executemany(statement, rows)
        connection.commit()
        connection.close()

    return run


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/app.db"


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    file = tmp_path / "map.yaml"
    file.write_text(MAP.format(page=3))
    return file


def post(number: int, **other: Any) -> tuple[Any, ...]:
    row = {
        "id": number,
        "board": f"b{number % 3}",
        "member_id": number % 5,
        "headline": f"Title {number}",
        "words": "a, b",
        "created_at": "2024-07-01 12:00:00",
        "updated_at": 1_000 + number // 2,
        "deleted_at": None,
    }
    return tuple((row | other).values())


def add_posts(app: App, numbers: Sequence[int], **other: Any) -> None:
    marks = ", ".join("?" * len(post(0)))
    app(f"INSERT OR REPLACE INTO posts VALUES ({marks})", [post(number, **other) for number in numbers])


def add_reactions(app: App, numbers: Sequence[int], *, posts: int, kind: int = 1) -> None:
    rows = [(n, n % posts, n % 4, kind, 1_700_000_000_000 + n) for n in numbers]
    app("INSERT INTO reactions VALUES (?, ?, ?, ?, ?)", rows)


def run(importer: Importer, url: str, map_file: Path, *, anew: bool = False) -> list[Any]:
    return list(importer.run_database(url, str(map_file), anew))


def test_every_kind_arrives(
    app: App, importer: Importer, engine: Engine, log: EventLog, url: str, map_file: Path
) -> None:
    add_posts(app, range(20))
    add_posts(app, [20], headline="draft: not yet")
    app("INSERT INTO members VALUES (?, ?, ?)", [(n, f"b{n % 4}", 1_700_000_000 + n) for n in range(10)])
    add_reactions(app, range(30), posts=20)
    steps = run(importer, url, map_file)
    found = {row.item_id: row for row in rows_of(engine, items)}
    assert found.keys() == {str(number) for number in range(20)}
    row = found["7"]
    assert (row.title, row.tags, row.language, row.author_id) == ("Title 7", '["a","b"]', "en", "2")
    assert row.published_at == 1_719_828_000 * SECOND  # noon in Berlin in July is ten o'clock UTC
    joined = {(row.user_id, row.community_id, row.joined_at) for row in rows_of(engine, memberships)}
    assert joined == {(str(n), f"b{n % 4}", (1_700_000_000 + n) * SECOND) for n in range(10)}
    assert "b3" in {row.community_id for row in rows_of(engine, communities)}, "a board without posts"
    told = {(e.user_id, e.item_id, e.kind, to_micros(e.occurred_at)) for e in logged(log)}
    assert told == {(str(n % 4), str(n % 20), "read", 1_700_000_000_000_000 + n * 1_000) for n in range(30)}
    assert [step.text for step in steps if isinstance(step, Said)] == [
        "map.yaml: items: 20 items taken in.",
        "map.yaml: deletions: 0 deletions taken in.",
        "map.yaml: memberships: 10 memberships taken in.",
        "map.yaml: interactions: 30 interactions taken in.",
    ]
    progress = [step for step in steps if isinstance(step, Progress) and "interactions" in step.stage]
    assert (progress[-1].done, progress[-1].total) == (30, 30)


def test_refused_rows_are_told_with_key_and_reason(
    app: App, importer: Importer, engine: Engine, url: str, map_file: Path
) -> None:
    add_posts(app, range(4))
    add_posts(app, [4], headline="")
    add_posts(app, [5], created_at="soon")
    add_reactions(app, range(2), posts=4)
    add_reactions(app, [2], posts=4, kind=9)
    app("INSERT INTO reactions VALUES (3, 99, 1, 1, 1700000000000)")
    steps = run(importer, url, map_file)
    told = {orjson.dumps(entry["key"]).decode(): entry["reason"] for entry in refused(importer)}
    assert told == {
        '{"updated_at":1002,"id":4}': "title: headline is missing or empty",
        '{"updated_at":1002,"id":5}': "published_at: 'soon' is no time",
        '{"id":2}': "kind: 9 of action_type is not among the values of the map",
        '{"id":3}': "item_id: there is no item '99'; import items first",
    }
    assert len(rows_of(engine, items)) == 4
    assert any("2 rows refused" in step.text for step in steps if isinstance(step, Said))


def test_a_later_import_takes_in_what_is_new_or_changed(
    app: App, importer: Importer, engine: Engine, log: EventLog, url: str, map_file: Path
) -> None:
    add_posts(app, range(10))
    add_reactions(app, range(10), posts=10)
    run(importer, url, map_file)
    before = {row.item_id: row.version for row in rows_of(engine, items)}
    add_posts(app, [3], headline="Mended", updated_at=2_000)
    add_posts(app, [4], deleted_at=2_000)
    add_posts(app, [11], updated_at=1_003)  # committed late, within the overlap
    add_reactions(app, range(10, 15), posts=10)
    steps = run(importer, url, map_file)
    versions = {row.item_id: (row.title, row.version, row.deleted) for row in rows_of(engine, items)}
    assert versions["3"][::2] == ("Mended", False)
    assert versions["4"][2]
    assert versions["11"][::2] == ("Title 11", False)
    changed = {item_id for item_id, row in versions.items() if row[1] != before.get(item_id)}
    assert changed == {"3", "4", "11"}
    assert len(logged(log)) == 14, "15, without the one on the post that is deleted"
    assert Said("map.yaml: deletions: 1 deletions taken in.") in steps
    run(importer, url, map_file, anew=True)
    assert {row.item_id: row.version for row in rows_of(engine, items)} == {
        item_id: version for item_id, (_, version, _) in versions.items()
    }, "reading all again changes nothing"


def test_another_map_of_the_same_rows_reads_them_anew(
    app: App, importer: Importer, engine: Engine, url: str, map_file: Path
) -> None:
    add_posts(app, range(5))
    run(importer, url, map_file)
    map_file.write_text(map_file.read_text().replace("page: 3", "page: 2"))
    assert Said("map.yaml: memberships: 0 memberships taken in.") in run(importer, url, map_file)
    map_file.write_text(map_file.read_text().replace("title: headline", "title: words"))
    run(importer, url, map_file)
    assert {row.title for row in rows_of(engine, items)} == {"a, b"}


def test_what_comes_meanwhile_is_left_to_the_next_import(
    app: App, importer: Importer, log: EventLog, url: str, map_file: Path
) -> None:
    """A reading of a post that was written after the posts were read would be refused, and passed by."""
    add_posts(app, range(5))
    add_reactions(app, range(5), posts=5)
    steps = importer.run_database(url, str(map_file))
    while not (isinstance(step := next(steps), Said) and "items" in step.text):
        pass
    add_posts(app, [50])
    app("INSERT INTO reactions VALUES (90, 50, 1, 1, 1700000000000)")
    list(steps)
    assert not refused(importer)
    run(importer, url, map_file)
    assert {event.item_id for event in logged(log)} == {"0", "1", "2", "3", "4", "50"}
    assert not refused(importer)


def test_a_post_that_is_edited_before_its_page_is_read_is_taken_in(
    app: App, engine: Engine, log: EventLog, tmp_path: Path, url: str, map_file: Path
) -> None:
    """Its key moves behind all that there was when the import began; its readings are taken in with it."""
    add_posts(app, range(10))
    add_reactions(app, range(10), posts=10)
    importer = Importer(engine, log, tmp_path / "imports", b"secret", batch=3)
    steps = importer.run_database(url, str(map_file))
    assert isinstance(next(steps), Progress), "the first page has been read"
    add_posts(app, [7], headline="Mended", updated_at=2_000)
    list(steps)
    assert not refused(importer)
    assert {row.item_id: row.title for row in rows_of(engine, items)}["7"] == "Mended"
    assert {event.item_id for event in logged(log)} == {str(number) for number in range(10)}


def test_a_row_of_the_future_does_not_hide_what_comes_after_it(
    app: App, importer: Importer, log: EventLog, url: str, map_file: Path
) -> None:
    map_file.write_text(map_file.read_text().replace("key: id\n", "key: [at, id]\n"))
    add_posts(app, range(3))
    add_reactions(app, range(2), posts=3)
    app("INSERT INTO reactions VALUES (90, 0, 1, 1, 4070908800000)")
    run(importer, url, map_file)
    now = now_micros() // 1_000
    app("INSERT INTO reactions VALUES (91, 2, 1, 1, ?)", [(now,)])
    run(importer, url, map_file)
    assert {event.item_id for event in logged(log)} == {"0", "1", "2"}
    assert {entry["key"]["id"] for entry in refused(importer)} == {90}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.sets(st.integers(0, 60), max_size=25),
    bad=st.sets(st.integers(0, 60)),
    page=st.integers(1, 9),
    batch=st.integers(1, 9),
    breaks=st.lists(st.integers(0, 6), max_size=3),
)
def test_any_break_ends_in_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: set[int],
    bad: set[int],
    page: int,
    batch: int,
    breaks: list[int],
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    with sqlite3.connect(folder / "app.db") as connection:
        connection.executescript(SCHEMA)
    connection.close()
    app = _app_of(folder)
    add_posts(app, sorted(numbers - bad))
    add_posts(app, sorted(numbers & bad), headline="")
    add_reactions(app, sorted(numbers), posts=61)
    (folder / "map.yaml").write_text(MAP.format(page=page))
    engine = open_database(f"sqlite:///{folder}/nearfeed.db")
    log = open_log(f"embedded://{folder}/log.db")
    importer = Importer(engine, log, folder / "imports", b"secret", batch=batch)
    for after in breaks:
        _broken_run(importer, folder, after)
    run(importer, f"sqlite:///{folder}/app.db", folder / "map.yaml")
    good = {str(number) for number in numbers - bad}
    assert {row.item_id for row in rows_of(engine, items)} == good
    assert len(rows_of(engine, outbox)) == len(good), "each was written once"
    assert {event.item_id for event in logged(log)} == good
    told = [orjson.dumps(entry["key"]) for entry in refused(importer)]
    readings = {orjson.dumps({"id": number}) for number in numbers & bad}
    posts = {orjson.dumps({"updated_at": 1_000 + number // 2, "id": number}) for number in numbers & bad}
    assert set(told) == readings | posts
    done = {row.kind: row for row in rows_of(engine, imports)}
    assert all(row.finished for row in done.values())
    log.close()
    engine.dispose()


def _broken_run(importer: Importer, folder: Path, after: int) -> None:
    from nearfeed_standalone.importing import operation

    store_state, calls = operation.store_state, iter(range(1_000))

    def broken(*arguments: Any) -> None:
        store_state(*arguments)
        if next(calls) == after:
            raise RuntimeError("the plug was pulled")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(operation, "store_state", broken)
        try:
            run(importer, f"sqlite:///{folder}/app.db", folder / "map.yaml")
        except RuntimeError:
            return


ITEMS = MAP.format(page=3).split("deletions:")[0]
KEY = "key: [updated_at, id]"
WRONG: dict[str, tuple[str, str, str]] = {
    "a column that is not there": (
        "headline\n",
        "titel\n",
        "items.title: there is no column titel; there is id,",
    ),
    "a key that is not there": (KEY, "key: nr", "items.key: there is no column nr; there is id,"),
    "a key that is not unique": (KEY, "key: board", "items.key: two rows have board = b0; add a column"),
    "a key with NULL": (KEY, "key: [deleted_at, id]", "items.key: there are rows where it is NULL"),
    "a query that is none": ("FROM posts", "FORM posts", "items.query: the database refuses it ("),
    "an overlap of text": (KEY, "key: [board, id]", "items.overlap: the key does not begin with"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_the_database_says_of_a_map_gets_one_sentence(
    name: str, app: App, importer: Importer, engine: Engine, url: str, map_file: Path
) -> None:
    add_posts(app, range(6))
    right, wrong, sentence = WRONG[name]
    assert right in ITEMS
    map_file.write_text(ITEMS.replace(right, wrong))
    with pytest.raises(MapError) as caught:
        [run(importer, url, map_file) for _ in range(2)]
    assert str(caught.value).startswith(f"map.yaml: {sentence}")
    assert "\n" not in str(caught.value)


def test_all_queries_are_checked_before_any_row_is_taken_in(
    app: App, importer: Importer, engine: Engine, url: str, map_file: Path
) -> None:
    add_posts(app, range(6))
    map_file.write_text(map_file.read_text().replace("table: reactions", "table: reaction"))
    with pytest.raises(
        MapError, match=r"map\.yaml: interactions\.table: the database refuses it \(no such table"
    ):
        run(importer, url, map_file)
    assert not rows_of(engine, items)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("app.db", "--from: names no database"),
        ("nosuch://host/db", "--from: names no database"),
        ("postgresql+asyncpg://host/db", "--from: the driver asyncpg is not installed; run `pip install"),
        ("sqlite:////nowhere/app.db", "--from: there is no file /nowhere/app.db"),
        (
            "mysql+mysqlconnector://me:secret@127.0.0.1:1/a",
            "--from: mysql+mysqlconnector://me:***@127.0.0.1:1/a",
        ),
    ],
)
def test_a_url_that_leads_nowhere_gets_one_sentence(
    wrong: str, sentence: str, importer: Importer, map_file: Path
) -> None:
    with pytest.raises(AppDatabaseError) as caught:
        run(importer, wrong, map_file)
    assert str(caught.value).startswith(sentence)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs `nearfeed import` in the folder, as its own process: it configures logs."""

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "nearfeed_standalone", "--data-dir", "data", "import", *arguments],
            cwd=tmp_path,
            env=os.environ | {"NEARFEED_VECTORS_URL": "memory://", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def test_the_command(app: App, command: Callable[..., Any], map_file: Path) -> None:
    add_posts(app, range(6))
    done = command("--from", "sqlite:///app.db", "--map", "map.yaml")
    assert done.returncode == 0, done.stderr
    assert "map.yaml: items: 6 items taken in." in done.stdout


@pytest.mark.parametrize("arguments", [["--map", "map.yaml"], ["--from", "sqlite:///app.db"], ["--anew"]])
def test_the_command_needs_both_a_database_and_a_map(
    command: Callable[..., Any], arguments: list[str]
) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "both --from URL" in done.stderr


def test_a_map_beside_a_kind_is_refused(command: Callable[..., Any], tmp_path: Path) -> None:
    done = command("--map", "map.yaml", "items", "posts.csv")
    assert done.returncode == 2
    assert not (tmp_path / "data").exists()


def test_a_wrong_map_is_one_sentence(importer: Importer, url: str, app: App, tmp_path: Path) -> None:
    with pytest.raises(NearfeedError, match=r"none\.yaml: .*none\.yaml cannot be read \(No such file"):
        run(importer, url, tmp_path / "none.yaml")
