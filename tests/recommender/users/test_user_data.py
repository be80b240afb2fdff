"""What is held of a reader: exported whole, erased whole, and what is left is told with its end."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    insert,
    select,
)
from sqlalchemy.exc import OperationalError

from nearfeed_contracts.events import decode
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.runs import Manifest, RankedBatch, write_lists, write_manifest
from nearfeed_contracts.tables import (
    communities,
    edges,
    erased_users,
    items,
    metadata,
    outbox,
    reader_controls,
    vertices,
)
from nearfeed_contracts.topics import READER_RETENTION
from nearfeed_core.pixie.building import build
from nearfeed_core.pixie.files import save
from nearfeed_core.pixie.ids import hashes_of
from nearfeed_recommender.users import personal_data
from nearfeed_recommender.users.erasure_check import RemainsError
from nearfeed_recommender.users.personal_data import HOLDINGS
from nearfeed_runtime.operations import Listed
from nearfeed_runtime.sql import read_connection, write_transaction

USER = "a-reader/of:all"
OTHER = "another"
OWNERS = ("user_id", "author_id", "reader_id", "unit_id")
NOT_EXPORTED = {
    "served_requests.unit_id": "the unit stands in the rows of the reader, and in experiment_units",
    "reader_units.unit_id": "the row is the reader's",
}
NOT_ERASED = NOT_EXPORTED
# Tables without such a column that may hold a reader's id all the same.
ELSEWHERE = {
    "outbox": "its key, until the relay has put the record on the log",
    "vertices": "an app's own ids, which nobody can tell apart: docs/reader-controls.md",
    "edges": "an app's own ids, which nobody can tell apart: docs/reader-controls.md",
}


def owned() -> Iterator[tuple[Table, Column[Any]]]:
    for table in metadata.sorted_tables:
        for column in table.columns:
            if column.name in OWNERS:
                yield table, column


TEXTS = {"page": "{}", "reader": "{}", "inputs": "{}", "tags": '["a"]', "control": "less", "language": "en"}
VALUES: dict[type, Any] = {
    Boolean: False,
    LargeBinary: np.ones(2, "<f4").tobytes(),
    BigInteger: 1,
    Integer: 1,
    Float: 0.5,
}


def value_of(column: Column[Any], user: str) -> Any:
    if column.name in OWNERS:
        return user
    if column.name.endswith("_at"):
        return now_micros() - 1_000_000
    found = next((value for kind, value in VALUES.items() if isinstance(column.type, kind)), None)
    if found is not None:
        return found
    whole = isinstance(column.type, Text)
    return TEXTS.get(column.name, f"x-{user}" if whole else f"x-{user}"[:16])


def fill(world: Any, user: str, author: str = "nobody") -> None:
    """A row of the reader in each table that has a column for one, and in those that hang on them.

    They name an author wherever a row of a reader may.
    """
    tables = {table.name: table for table, _ in owned()} | {"served_items": metadata.tables["served_items"]}
    with write_transaction(world.engine) as transaction:
        for table in tables.values():
            row = {column.name: value_of(column, user) for column in table.columns}
            if "request_id" in row and table.name != "outcomes":
                row["request_id"] = f"r-{user}"
            row |= {name: value for name, value in naming(author).items() if name in row}
            if table.name == "feed_pages":
                row["page"] = json.dumps({"user_id": user})
            if table.name == "reader_controls":
                row |= {"control": "follow", "target": author}
            transaction.execute(insert(table).values(**row))


def naming(author: str) -> dict[str, str]:
    """What is known of others, with an author in it, as ReaderInputs and PostInputs have them."""
    reader, post = {"authors": {author: 1.0}}, {"author_id": author}
    return {"reader": json.dumps(reader), "inputs": json.dumps(post)}


def ask(world: Any, path: str, expected: int = 200) -> Any:
    answer = world.client.get(path)
    assert answer.status_code == expected, answer.text
    return answer.json()


def exported(world: Any, user: str) -> dict[str, Any]:
    return dict(ask(world, f"/v1/users/{user}/export"))


def test_no_table_with_readers_is_forgotten() -> None:
    known = {holding.table.name for holding in HOLDINGS}
    for table, column in owned():
        assert table.name in known or f"{table.name}.{column.name}" in NOT_EXPORTED
    assert ELSEWHERE.keys() <= metadata.tables.keys()
    assert len({holding.name for holding in HOLDINGS}) == len(HOLDINGS)


def test_an_export_has_a_row_of_each_table_and_nothing_of_others(world: Any) -> None:
    fill(world, USER)
    fill(world, OTHER)
    body = exported(world, USER)
    assert (body["schema_version"], body["user_id"]) == (1, USER)
    for holding in HOLDINGS:
        (row,) = body[holding.name]
        omitted = {"user_id", "author_id", "change_id"}
        assert row.keys() == {column.name for column in holding.table.columns} - omitted
        assert all(isinstance(row[name], str) for name in row if name.endswith("_at") and row[name])
        assert OTHER not in json.dumps(row)
    assert body["vectors"][0]["vector"] == [1.0, 1.0]
    assert body["posts"][0]["tags"] == ["a"]
    empty = exported(world, "nobody")
    assert all(empty[holding.name] == [] for holding in HOLDINGS)


def test_an_export_is_read_in_parts_and_whole(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal_data, "ROWS_AT_ONCE", 3)
    items = [f"p{number}" for number in range(11)]
    events = [{"user_id": "u", "item_id": item, "kind": "read"} for item in items]
    served.client.post("/v1/events", json={"events": events})
    served.settle()
    body = exported(served, "u")
    assert sorted(row["item_id"] for row in body["interactions"]) == sorted(items)
    assert body["interactions"][0]["read_at"].endswith("Z")
    assert [row["readings"] for row in body["vectors"]] == [11]


def test_an_export_fails_whole_where_sql_does_not_answer(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(personal_data, "_rows_after", down)
    assert served.client.get("/v1/users/u/export").status_code == 503


def everywhere(world: Any, user: str) -> set[str]:
    """The tables in which any text has the id."""
    found = set()
    with read_connection(world.engine) as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                if any(isinstance(value, str | bytes) and user in told(value) for value in row):
                    found.add(table.name)
    return found


def told(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def test_an_erasure_leaves_no_table_with_the_reader(world: Any) -> None:
    world.add_space("s1")
    fill(world, USER)
    fill(world, OTHER)
    assert everywhere(world, USER) >= {table.name for table, _ in owned()}
    answer = world.client.delete("/v1/users", params={"user_id": USER})
    assert answer.status_code == 202
    world.settle()
    assert everywhere(world, USER) == set()
    assert everywhere(world, OTHER) >= {table.name for table, _ in owned()} - {"user_vectors"}


@pytest.mark.parametrize("posts", ["delete", "anonymise"])
def test_what_others_rows_say_of_an_erased_author_is_gone_or_told(world: Any, posts: str) -> None:
    world.add_space("s1")
    fill(world, USER)
    fill(world, OTHER, author=USER)
    with write_transaction(world.engine) as transaction:
        made = insert(communities).from_select(
            ["community_id", "created_at"], select(items.c.community_id, items.c.published_at)
        )
        transaction.execute(made)
    before = ask(world, f"/v1/admin/erasure/{USER}")["remains"]
    assert {
        "where": "SQL reader_controls",
        "what": "1 row of others, on this author",
        "until": None,
    } in before
    assert world.client.delete("/v1/users", params={"user_id": USER, "posts": posts}).status_code == 202
    world.settle()
    report = ask(world, f"/v1/admin/erasure/{USER}")
    assert report["done"]
    told_of = {each["where"].removeprefix("SQL ") for each in report["remains"]}
    texts = set() if posts == "delete" else {"items"}  # the body of the own post, which stays
    assert everywhere(world, USER) == {"served_items", "served_requests"} | texts
    assert everywhere(world, USER) <= told_of | texts
    with read_connection(world.engine) as connection:
        targets = list(connection.scalars(select(reader_controls.c.target)))
        author = connection.scalar(select(items.c.author_id).where(items.c.author_id.startswith("erased-")))
    assert targets == ([] if posts == "delete" else [author])
    subscription = world.log.subscribe(["reader-controls"], "test", lambda _: 0)
    changes = [decode(message.value) for message in subscription.poll(100, 0.0)]
    subscription.close()
    assert [(c.user_id, c.target, c.active) for c in changes] == [
        (OTHER, USER, False),
        *([] if posts == "delete" else [(OTHER, author, True)]),
    ]


def write_run(world: Any, name: str, users: list[str], created: datetime) -> None:
    url = f"{world.settings.runs_url}/{name}"
    ranks = np.ones(len(users), np.int64)
    items = pa.array(["p1"] * len(users))
    write_lists(url, [RankedBatch(pa.array(users), items, ranks, np.ones(len(users), np.float32))])
    write_manifest(url, Manifest(space=name, kind="lists", model=name, created_at=created))


def write_graph(world: Any, name: str, users: list[str], created: datetime) -> None:
    url = f"{world.settings.runs_url}/{name}"
    numbers = np.arange(len(users), dtype=np.uint32)
    save(build(np.zeros(len(users), np.uint32), numbers, ["p1"], hashes_of(users)), f"{url}/graph")
    write_manifest(url, Manifest(space=name, kind="graph", model=name, created_at=created))


def operation(world: Any, name: str, **arguments: Any) -> list[Any]:
    return list(world.service.operations[name](**arguments))


def test_the_check_tells_what_is_left_and_until_when(served: Any) -> None:
    served.client.post("/v1/events", json={"user_id": USER, "item_id": "p1", "kind": "read"})
    served.settle()
    before = ask(served, f"/v1/admin/erasure/{USER}")
    assert (before["done"], before["erased_at"]) == (False, None)
    assert {each["where"] for each in before["remains"]} == {
        "SQL interactions",
        "SQL outcomes",
        "SQL user_revisions",
        "SQL user_vectors",
    }
    with pytest.raises(RemainsError, match="has not been erased"):
        operation(served, "erasure.check", user_id=USER)

    now = datetime.now(UTC)
    write_run(served, "with", ["*", USER], now - timedelta(days=3))
    write_run(served, "without", ["*", OTHER], now)
    write_graph(served, "graph", [OTHER, USER], now - timedelta(days=1))
    served.client.delete("/v1/users", params={"user_id": USER})
    early = ask(served, f"/v1/admin/erasure/{USER}")
    assert not early["done"]
    assert "SQL outbox" in {each["where"] for each in early["remains"]}
    served.settle()

    after = ask(served, f"/v1/admin/erasure/{USER}")
    assert after["done"]
    assert any("Backups" in note for note in after["notes"])
    ends = {each["where"]: datetime.fromisoformat(each["until"]) for each in after["remains"]}
    last = datetime.fromisoformat(after["erased_at"]) + READER_RETENTION
    for topic in ("interactions", "memberships", "reader-controls", "served", "items", "item-vectors"):
        assert ends[f"log {topic}"] == ends[f"log {topic}.dead"] == last
    assert ends["run with"] == now - timedelta(days=3) + READER_RETENTION
    assert ends["run graph"] == now - timedelta(days=1) + READER_RETENTION
    assert "run without" not in ends
    assert max(ends.values()) == last
    listed, *_, said = operation(served, "erasure.check", user_id=USER)
    assert isinstance(listed, Listed)
    assert len(listed.rows) == len(ends)
    assert said.text.endswith(f"by {last:%Y-%m-%d %H:%M}.")


def test_all_is_gone_after_the_time_and_old_runs_end(served: Any) -> None:
    served.client.delete("/v1/users", params={"user_id": USER})
    served.settle()
    long_ago = datetime.now(UTC) - READER_RETENTION - timedelta(minutes=1)
    with write_transaction(served.engine) as transaction:
        transaction.execute(erased_users.update().values(erased_at=int(long_ago.timestamp() * 1e6)))
    write_run(served, "old", [USER], long_ago)
    write_run(served, "everybody", ["*"], long_ago)
    write_graph(served, "old-graph", [USER], long_ago)
    write_run(served, "young", [OTHER], datetime.now(UTC))
    overdue = ask(served, f"/v1/admin/erasure/{USER}")
    assert not overdue["done"]
    assert {each["where"]: each["until"] for each in overdue["remains"]} == {
        "run old": None,
        "run old-graph": None,
    }
    with pytest.raises(RemainsError, match="erasure prune"):
        operation(served, "erasure.check", user_id=USER)
    assert len(operation(served, "erasure.prune", actor="Ann")) == 2
    changes = ask(served, "/v1/admin/audit")["changes"]
    assert {(each["actor"], each["action"], each["target"]) for each in changes[:2]} == {
        ("Ann", "erasure.prune", "run old"),
        ("Ann", "erasure.prune", "run old-graph"),
    }
    assert ask(served, f"/v1/admin/erasure/{USER}")["remains"] == []
    assert "nothing is left" in operation(served, "erasure.check", user_id=USER)[-1].text
    assert "No run" in operation(served, "erasure.prune", actor="Ann")[0].text


def test_what_cannot_be_read_is_no_clean_bill(served: Any) -> None:
    served.client.delete("/v1/users", params={"user_id": USER})
    served.settle()
    write_run(served, "cut", [USER], datetime.now(UTC))
    path = served.settings.runs_url.removeprefix("file://") + "/cut/lists.parquet"
    with open(path, "wb") as file:
        file.write(b"nonsense")
    body = ask(served, f"/v1/admin/erasure/{USER}")
    (cut,) = [each for each in body["remains"] if each["where"] == "run cut"]
    assert cut["until"] is None
    assert not body["done"]


def test_ids_that_an_app_loaded_itself_are_told(served: Any) -> None:
    with write_transaction(served.engine) as transaction:
        transaction.execute(insert(vertices).values(kind="person", vertex_id=USER, properties="{}"))
        transaction.execute(insert(edges).values(label="follows", from_id="x", to_id=USER, score=1.0))
    notes = ask(served, f"/v1/admin/erasure/{USER}")["notes"]
    assert sum(note.startswith("SQL ") and "1 row with this id" in note for note in notes) == 2


def test_relayed_records_leave_the_outbox(served: Any) -> None:
    served.client.put(f"/v1/users/u/controls/block/{OTHER}")
    served.settle()
    with read_connection(served.engine) as connection:
        assert connection.scalar(select(func.count()).select_from(outbox)) == 0
