"""Imports: what arrives, what is refused and why, and going on after a break."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, insert
from tests.standalone.imported import logged, refused, rows_of

from nearfeed_contracts.errors import ConflictError, NotFoundError
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.tables import communities, erased_users, imports, items, memberships, outbox
from nearfeed_recommender.identity.erasures import hash_user
from nearfeed_runtime.operations import Progress, Said
from nearfeed_runtime.sql import write_transaction
from nearfeed_standalone.importing.files import UnreadableFileError
from nearfeed_standalone.importing.operation import Importer

FORMATS = ["csv", "jsonl", "parquet"]
SECOND = 1_000_000


def item(number: int, **other: Any) -> dict[str, Any]:
    row = {
        "item_id": f"post-{number}",
        "community_id": f"c{number % 3}",
        "author_id": "ann",
        "title": f"Title {number}",
        "body": "Two\nlines, and a comma",
        "tags": ["a", "b"],
        "published_at": 1_700_000_000 + number,
    }
    return row | other


def interaction(number: int, **other: Any) -> dict[str, Any]:
    row = {
        "user_id": f"u{number % 5}",
        "item_id": f"post-{number}",
        "kind": "read",
        "occurred_at": f"2024-01-01T10:00:{number % 60:02}+01:00",
        "value": None,
    }
    return row | other


def run(importer: Importer, kind: str, path: Path) -> list[Any]:
    return list(importer.run(kind, str(path)))


@pytest.mark.parametrize("suffix", FORMATS)
def test_items_of_every_format(suffix: str, importer: Importer, engine: Engine, written: Any) -> None:
    path = written(f"posts.{suffix}", [item(number) for number in range(20)])
    steps = run(importer, "items", path)
    found = {row.item_id: row for row in rows_of(engine, items)}
    assert set(found) == {f"post-{number}" for number in range(20)}
    row = found["post-4"]
    assert (row.title, row.body, row.tags) == ("Title 4", "Two\nlines, and a comma", '["a","b"]')
    assert (row.community_id, row.published_at) == ("c1", 1_700_000_004 * SECOND)
    assert {row.community_id for row in rows_of(engine, communities)} == {"c0", "c1", "c2"}
    assert len(rows_of(engine, outbox)) == 20
    progress = [step for step in steps if isinstance(step, Progress)]
    assert progress[-1].done == progress[-1].total
    assert [step.done for step in progress] == sorted(step.done for step in progress)


@pytest.mark.parametrize("suffix", FORMATS)
def test_interactions_of_every_format(suffix: str, importer: Importer, log: EventLog, written: Any) -> None:
    run(importer, "items", written(f"posts.{suffix}", [item(number) for number in range(20)]))
    rows = [interaction(number) for number in range(18)]
    rows += [interaction(18, kind="rating", value=4.5), interaction(19, occurred_at="1704099600")]
    run(importer, "interactions", written(f"readings.{suffix}", rows))
    events = {event.item_id: event for event in logged(log)}
    assert len(events) == 20
    assert to_micros(events["post-7"].occurred_at) == 1_704_099_607 * SECOND
    assert to_micros(events["post-19"].occurred_at) == 1_704_099_600 * SECOND
    assert (events["post-18"].kind, events["post-18"].value) == ("rating", 4.5)


@pytest.mark.parametrize("suffix", FORMATS)
def test_memberships_of_every_format(suffix: str, importer: Importer, engine: Engine, written: Any) -> None:
    run(importer, "items", written(f"posts.{suffix}", [item(number) for number in range(3)]))
    rows = [{"user_id": n, "community_id": f"c{n % 3}", "joined_at": 1_700_000_000} for n in range(10)]
    run(importer, "memberships", written(f"members.{suffix}", rows))
    found = {(row.user_id, row.community_id, row.joined_at) for row in rows_of(engine, memberships)}
    assert found == {(str(n), f"c{n % 3}", 1_700_000_000 * SECOND) for n in range(10)}


FAULTY: list[tuple[dict[str, Any], str]] = [
    ({"item_id": None}, "item_id: Field required"),
    ({"item_id": "with space"}, "item_id: "),
    ({"item_id": "x" * 129}, "item_id: "),
    ({"title": "x" * 301}, "title: "),
    ({"body": "x" * 40_001}, "body: "),
    ({"tags": ["t"] * 21}, "tags: "),
    ({"published_at": "2024-01-01T10:00:00"}, "published_at: Input should have timezone info"),
    ({"published_at": "soon"}, "published_at: "),
    ({"published_at": "99999999999999"}, "published_at: 99999999999999 is no time in seconds since 1970"),
    ({"published_at": "2999-01-01T00:00:00Z"}, "more than five minutes ahead"),
    ({"language": "no such"}, "language: "),
]


@pytest.mark.parametrize("suffix", FORMATS)
def test_refused_rows_are_told_with_line_and_reason(
    suffix: str, importer: Importer, engine: Engine, written: Any
) -> None:
    rows = [item(number, published_at=f"{1_700_000_000 + number}", language=None) for number in range(40)]
    for number, (fault, _) in enumerate(FAULTY):
        rows[2 + 3 * number] |= fault
    steps = run(importer, "items", written(f"posts.{suffix}", rows))
    told = refused(importer)
    # CSV has a header, and each row above takes two lines for the break in its body.
    first_line = {"csv": lambda index: _csv_line(rows, index)}.get(suffix, lambda index: index + 1)
    assert [entry["line"] for entry in told] == [first_line(2 + 3 * n) for n in range(len(FAULTY))]
    for entry, (_, reason) in zip(told, FAULTY, strict=True):
        assert reason in entry["reason"]
    assert len(rows_of(engine, items)) == 40 - len(FAULTY)
    assert f"{len(FAULTY)} rows refused" in steps[-1].text


def _csv_line(rows: Sequence[Mapping[str, Any]], index: int) -> int:
    return 2 + sum(1 + str(row["body"]).count("\n") for row in rows[:index])


def test_interactions_refused_by_what_is_known(importer: Importer, log: EventLog, written: Any) -> None:
    run(importer, "items", written("posts.csv", [item(1), item(2)]))
    rows = [
        interaction(1),
        interaction(3),
        interaction(2, kind="stare"),
        interaction(2, kind="rating"),
        interaction(2, value=3),
        interaction(2, kind="rating", value=float("nan")),
        interaction(2, kind="rating", value=6),
    ]
    run(importer, "interactions", written("readings.csv", rows))
    assert [event.item_id for event in logged(log)] == ["post-1"]
    told = {entry["line"]: entry["reason"] for entry in refused(importer)}
    assert sorted(told) == [3, 4, 5, 6, 7, 8]
    assert told[3] == "item_id: there is no item 'post-3'; import items first"
    assert told[4].startswith("kind: ")
    for line in (5, 6):
        assert told[line].startswith("value: is required for kind rating")


def test_what_an_erased_reader_had_joined_before_is_refused(
    importer: Importer, engine: Engine, written: Any
) -> None:
    run(importer, "items", written("posts.csv", [item(0)]))
    with write_transaction(engine) as transaction:
        gone = {"user_hash": hash_user(importer.secret, "gone"), "erased_at": 100 * SECOND}
        transaction.execute(insert(erased_users).values(**gone))
    rows = [
        {"user_id": "gone", "community_id": "c0", "joined_at": 100},
        {"user_id": "other", "community_id": "c0", "joined_at": 100},
    ]
    run(importer, "memberships", written("before.csv", rows))
    assert [row.user_id for row in rows_of(engine, memberships)] == ["other"]
    run(importer, "memberships", written("after.csv", [rows[0] | {"joined_at": 101}]))
    assert {row.user_id for row in rows_of(engine, memberships)} == {"other", "gone"}


def test_memberships_of_unknown_communities_are_refused(
    importer: Importer, engine: Engine, written: Any
) -> None:
    run(importer, "items", written("posts.csv", [item(0)]))
    rows = [{"user_id": "u", "community_id": name} for name in ("c0", "c9")]
    run(importer, "memberships", written("members.csv", rows))
    assert [row.community_id for row in rows_of(engine, memberships)] == ["c0"]
    assert refused(importer) == [
        {"line": 3, "reason": "community_id: there is no community 'c9'; import its items first"}
    ]


def test_json_lines_that_are_no_objects_are_refused(importer: Importer, tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_bytes(orjson.dumps(item(1)) + b'\n\n[1]\n{"item_id": \n' + orjson.dumps(item(2)))
    run(importer, "items", path)
    assert [(entry["line"], entry["reason"][:10]) for entry in refused(importer)] == [
        (3, "is no JSON"),
        (4, "is no JSON"),
    ]


def test_csv_rows_with_too_many_or_too_few_fields_are_refused(importer: Importer, tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    path.write_text("user_id,community_id\nu\nu,c,x\n\nu,c\n")
    run(importer, "memberships", path)
    assert [entry["line"] for entry in refused(importer)] == [2, 3, 5]


def test_columns_without_meaning_are_named(importer: Importer, written: Any) -> None:
    steps = run(importer, "items", written("posts.parquet", [item(1, colour="red")]))
    assert Said("posts.parquet: ignored columns: colour.") in steps


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("breaks_at", [0, 1, 2, 4])
def test_an_import_goes_on_where_it_was_broken_off(
    suffix: str,
    breaks_at: int,
    importer: Importer,
    engine: Engine,
    log: EventLog,
    written: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(importer, "items", written(f"posts.{suffix}", [item(number) for number in range(30)]))
    rows = [interaction(number, item_id=f"post-{number if number % 4 else 'none'}") for number in range(30)]
    path = written(f"readings.{suffix}", rows)
    with monkeypatch.context() as patched:
        _break_commit(patched, breaks_at)
        with pytest.raises(RuntimeError, match="pulled"):
            run(importer, "interactions", path)
    run(importer, "interactions", path)
    expected = {f"post-{number}" for number in range(30) if number % 4}
    assert {event.item_id for event in logged(log)} == expected
    per_id = Counter(event.event_id for event in logged(log))
    repeated = [event_id for event_id, count in per_id.items() if count > 1]
    assert len(per_id) == len(expected)
    assert len(repeated) <= importer.batch
    assert len(refused(importer)) == len(rows) - len(expected)
    state = next(row for row in rows_of(engine, imports) if row.kind == "interactions")
    assert (state.rows_done, state.rows_refused, state.finished) == (30, 8, True)


def _break_commit(patched: pytest.MonkeyPatch, after: int) -> None:
    """The power goes after the log has a batch and before SQL has it."""
    from nearfeed_standalone.importing import operation

    store_state = operation.store_state
    calls = iter(range(100))

    def broken(*arguments: Any) -> None:
        store_state(*arguments)
        if next(calls) == after:
            raise RuntimeError("the plug was pulled")

    patched.setattr(operation, "store_state", broken)


def test_items_broken_off_are_neither_lost_nor_raised_in_version(
    importer: Importer, engine: Engine, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written("posts.csv", [item(number) for number in range(30)])
    with monkeypatch.context() as patched:
        _break_commit(patched, 2)
        with pytest.raises(RuntimeError, match="pulled"):
            run(importer, "items", path)
    assert len(rows_of(engine, items)) == len(rows_of(engine, outbox)) == 14
    run(importer, "items", path)
    assert len(rows_of(engine, items)) == len(rows_of(engine, outbox)) == 30


def test_a_file_is_known_by_its_content(importer: Importer, engine: Engine, written: Any) -> None:
    run(importer, "items", written("posts.csv", [item(1)]))
    steps = run(importer, "items", written("renamed.csv", [item(1)]))
    assert steps == [Said("renamed.csv was imported before: 1 items taken in.")]
    (before,) = rows_of(engine, items)
    run(importer, "items", written("posts.csv", [item(1, title="Mended")]))
    (after,) = rows_of(engine, items)
    assert after.title == "Mended"
    assert after.version > before.version


def test_a_renamed_file_tells_where_its_refusals_are(importer: Importer, written: Any) -> None:
    rows = [item(1), item(2, title="")]
    run(importer, "items", written("posts.csv", rows))
    (said,) = run(importer, "items", written("renamed.csv", rows))
    (told,) = importer.folder.iterdir()
    assert str(told) in said.text
    assert told.name.startswith("posts.csv.items.")


def test_a_file_of_another_suffix_is_refused_though_its_content_was_imported(
    importer: Importer, written: Any
) -> None:
    path = written("posts.csv", [item(1)])
    run(importer, "items", path)
    other = path.with_suffix(".xlsx")
    other.write_bytes(path.read_bytes())
    with pytest.raises(UnreadableFileError, match=r"the suffix must be \.parquet, \.csv or \.jsonl"):
        run(importer, "items", other)


def test_a_parquet_file_with_a_damaged_page_is_not_taken_in_at_all(
    importer: Importer, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "posts.parquet"
    table = pa.Table.from_pylist([item(number) for number in range(100)])
    pq.write_table(
        table, path, row_group_size=20, write_page_checksum=True, use_dictionary=False, compression="none"
    )
    content = bytearray(path.read_bytes())
    content[content.index(b"post-95")] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match="cannot be read as Parquet"):
        run(importer, "items", path)
    assert rows_of(engine, items) == []
    assert rows_of(engine, imports) == []
    assert list(importer.folder.glob("*")) == []


def test_a_deletion_of_what_never_was_is_refused_and_a_second_one_is_not(
    importer: Importer, engine: Engine, written: Any
) -> None:
    run(importer, "items", written("posts.csv", [item(1), item(2)]))
    run(importer, "deletions", written("gone.csv", [{"item_id": "post-1"}]))
    steps = run(importer, "deletions", written("gone.csv", [{"item_id": "post-1"}, {"item_id": "post-9"}]))
    assert refused(importer) == [{"line": 3, "reason": "item_id: there was never an item 'post-9'"}]
    assert "1 deletions taken in, 1 rows refused" in steps[-1].text
    assert {row.item_id: bool(row.deleted) for row in rows_of(engine, items)} == {
        "post-1": True,
        "post-2": False,
    }


Damage = Callable[[Path], bytes]
BAD_FILES: dict[str, tuple[str, Damage, str]] = {
    "a Parquet file cut in half": (
        "posts.parquet",
        lambda path: path.read_bytes()[: path.stat().st_size // 2],
        "posts.parquet: cannot be read as Parquet",
    ),
    "no Parquet": ("posts.parquet", lambda _: b"hello", "posts.parquet: cannot be read as Parquet"),
    "an empty CSV": ("posts.csv", lambda _: b"", "posts.csv: the file is empty."),
    "an empty Parquet": ("posts.parquet", lambda _: b"", "posts.parquet: the file is empty."),
    "an empty JSONL": ("posts.jsonl", lambda _: b"", "posts.jsonl: the file is empty."),
    "blank lines": ("posts.jsonl", lambda _: b"\n\n", "posts.jsonl: the file has no rows."),
    "a header alone": (
        "posts.csv",
        lambda path: path.read_bytes().splitlines(keepends=True)[0],
        "posts.csv: the file has no rows.",
    ),
    "a wrong column": (
        "posts.csv",
        lambda path: path.read_bytes().replace(b"author_id", b"author", 1),
        "posts.csv: the column author_id is missing; the columns are item_id, community_id, author, ",
    ),
    "a column twice": (
        "posts.csv",
        lambda path: path.read_bytes().replace(b"author_id", b"item_id", 1),
        "posts.csv, line 1: the header names the column 'item_id' twice.",
    ),
    "Latin-1 in CSV": (
        "posts.csv",
        lambda path: path.read_bytes().replace(b"Title 3", b"Titel \xe4"),
        "posts.csv, line 8: byte 21 is not UTF-8; convert the file to UTF-8.",
    ),
    "UTF-16": (
        "posts.csv",
        lambda path: path.read_bytes().decode().encode("utf-16"),
        "posts.csv, line 1: byte 1 is not UTF-8; convert the file to UTF-8.",
    ),
    "Latin-1 in JSONL": (
        "posts.jsonl",
        lambda path: path.read_bytes().replace(b"Title 3", b"Titel \xe4"),
        "posts.jsonl, line 4: byte ",
    ),
    "a quote that is not closed": (
        "posts.csv",
        lambda path: path.read_bytes() + b'"post-99',
        "posts.csv, line 42: cannot be read as CSV (",
    ),
}


@pytest.mark.parametrize("name", list(BAD_FILES))
def test_a_bad_file_gets_one_sentence(name: str, importer: Importer, engine: Engine, written: Any) -> None:
    file, damage, sentence = BAD_FILES[name]
    path = written(file, [item(number) for number in range(20)])
    path.write_bytes(damage(path))
    with pytest.raises(UnreadableFileError) as caught:
        run(importer, "items", path)
    assert str(caught.value).removeprefix(f"{path.parent}/").startswith(sentence)
    assert "\n" not in str(caught.value)
    assert len(rows_of(engine, items)) % importer.batch == 0


def test_a_file_of_unknown_suffix_or_that_is_missing(importer: Importer, tmp_path: Path) -> None:
    (tmp_path / "posts.xlsx").write_bytes(b"PK")
    with pytest.raises(UnreadableFileError, match=r"posts\.xlsx: the suffix must be"):
        run(importer, "items", tmp_path / "posts.xlsx")
    with pytest.raises(UnreadableFileError, match=r"none\.csv: cannot be read \(No such file"):
        run(importer, "items", tmp_path / "none.csv")


def test_an_unknown_kind(importer: Importer, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="choose one of items, deletions, interactions, memberships"):
        run(importer, "users", tmp_path)


def test_one_import_at_a_time(importer: Importer, written: Any) -> None:
    first = importer.run("items", str(written("posts.csv", [item(number) for number in range(20)])))
    next(first)
    with pytest.raises(ConflictError):
        run(importer, "items", written("more.csv", [item(99)]))
    first.close()  # type: ignore[attr-defined]
    run(importer, "items", written("more.csv", [item(99)]))
