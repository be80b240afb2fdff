"""The bulk load: what arrives and what is refused, going on after a break, checks that agree with models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import Engine
from tests.standalone.imported import refused, rows_of

from nearfeed_backends.opening import open_database
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.tables import edges, imports, outbox, vertices
from nearfeed_standalone.importing import bulk
from nearfeed_standalone.importing.bulk import BULK_KINDS, BulkJob, by_key, checked
from nearfeed_standalone.importing.opening import file_source
from nearfeed_standalone.importing.operation import Importer
from nearfeed_standalone.importing.refused import Refusal
from nearfeed_standalone.importing.rows import filled
from nearfeed_standalone.importing.source import RawRow
from servers import fresh_database

Written = Callable[[str, Any], Path]


def edge(number: int, **other: Any) -> dict[str, Any]:
    row = {
        "label": "near",
        "from_id": f"p{number % 7}",
        "to_id": f"p{number}",
        "score": number / 8,
        "properties": {"n": number, "why": "a,b"},
    }
    return row | other


def written_as(suffix: str, row: dict[str, Any]) -> dict[str, Any]:
    """Only JSON lines have objects; the others hold them as text."""
    text = orjson.dumps(row["properties"]).decode() if isinstance(row.get("properties"), dict) else None
    return row if suffix == "jsonl" or text is None else row | {"properties": text}


def take_in(importer: Importer, kind: str, path: Path) -> str:
    return str(list(importer.run(kind, str(path)))[-1].text)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_edges_and_vertices_of_every_format(
    suffix: str, importer: Importer, engine: Engine, written: Written
) -> None:
    rows = [written_as(suffix, edge(number)) for number in range(50)]
    path = written(f"near.{suffix}", rows)
    assert take_in(importer, "edges", path) == f"near.{suffix}: 50 edges taken in."
    assert {(row.from_id, row.to_id, row.score, row.properties) for row in rows_of(engine, edges)} == {
        (f"p{n % 7}", f"p{n}", n / 8, f'{{"n":{n},"why":"a,b"}}') for n in range(50)
    }
    assert "imported before: 50 edges taken in" in take_in(importer, "edges", path)
    things = [
        {"kind": "maker", "vertex_id": n, "properties": None if n else '{"born": 1995}'} for n in range(3)
    ]
    take_in(importer, "vertices", written(f"makers.{suffix}", things))
    found = {(row.kind, row.vertex_id, row.properties) for row in rows_of(engine, vertices)}
    assert found == {("maker", "0", '{"born":1995}'), ("maker", "1", "{}"), ("maker", "2", "{}")}
    assert not rows_of(engine, outbox)


def test_what_may_be_missing(importer: Importer, engine: Engine, written: Written) -> None:
    take_in(importer, "edges", written("e.csv", [{"label": "a", "from_id": "1", "to_id": "2"}]))
    assert [tuple(row) for row in rows_of(engine, edges)] == [("a", "1", "2", 1.0, None)]


def test_the_last_row_of_a_key_holds_and_a_later_file_wins(
    importer: Importer, engine: Engine, written: Written
) -> None:
    rows = [edge(number, to_id=f"t{number % 3}", from_id="f") for number in range(20)]
    take_in(importer, "edges", written("e.jsonl", rows))
    assert {row.to_id: row.score for row in rows_of(engine, edges)} == {
        "t0": 18 / 8,
        "t1": 19 / 8,
        "t2": 17 / 8,
    }
    take_in(importer, "edges", written("f.jsonl", [edge(1, to_id="t1", from_id="f", score=-1)]))
    assert {row.to_id: row.score for row in rows_of(engine, edges)} == {"t0": 18 / 8, "t1": -1, "t2": 17 / 8}


@pytest.mark.server
def test_edges_on_mariadb(tmp_path: Path, log: EventLog, written: Written) -> None:
    with fresh_database() as url:
        engine = open_database(url)
        importer = Importer(engine, log, tmp_path / "imports", b"a secret")
        rows = [edge(number, properties={"why": "%s \\ ' é 한"}) for number in range(50)]
        take_in(importer, "edges", written("e.jsonl", rows))
        take_in(importer, "edges", written("f.jsonl", [edge(3, score=-1), edge(3, score=-2)]))
        found = {row.to_id: (row.score, row.properties) for row in rows_of(engine, edges)}
        engine.dispose()
    text = orjson.dumps({"why": "%s \\ ' é 한"}).decode()
    assert found == {f"p{n}": (n / 8, text) for n in range(50)} | {"p3": (-2, '{"n":3,"why":"a,b"}')}


FAULTY = [
    ({"from_id": None}, "from_id: Field required"),
    ({"to_id": "with space"}, "to_id: must not hold white space"),
    ({"to_id": "x" * 129}, "to_id: String should have at most 128 characters"),
    ({"label": "x" * 65}, "label: String should have at most 64 characters"),
    ({"score": "much"}, "score: Input should be a valid number"),
    ({"score": "nan"}, "score: Input should be a finite number"),
    ({"properties": "[1]"}, "properties: must be a JSON object"),
    ({"properties": "{"}, "properties: is no JSON object"),
    (
        {"properties": '{"a":"' + "x" * 40_000 + '"}'},
        "properties: has more than 40,000 characters",
    ),
]


def test_refused_rows_are_told_with_line_and_reason(
    importer: Importer, engine: Engine, written: Written
) -> None:
    rows = [written_as("csv", edge(number)) for number in range(40)]
    for number, (fault, _) in enumerate(FAULTY):
        rows[3 * number] |= fault
    told = take_in(importer, "edges", written("e.csv", rows))
    assert f"{40 - len(FAULTY)} edges taken in, {len(FAULTY)} rows refused" in told
    assert [entry["line"] for entry in refused(importer)] == [2 + 3 * n for n in range(len(FAULTY))]
    for entry, (_, reason) in zip(refused(importer), FAULTY, strict=True):
        assert entry["reason"].startswith(reason)
    assert len(rows_of(engine, edges)) == 40 - len(FAULTY)


def test_a_load_that_was_broken_off_goes_on(
    importer: Importer, engine: Engine, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [edge(number, label="" if number % 10 == 3 else "near") for number in range(100)]
    path = written("e.jsonl", rows)
    job = BulkJob(
        engine, importer.folder, "edges", BULK_KINDS["edges"], file_source(path, ("label",)), part=15
    )
    store, calls = bulk._store, iter(range(100))

    def broken(*given: Any, **more: Any) -> None:
        store(*given, **more)
        if next(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(bulk, "_store", broken)
    with pytest.raises(KeyboardInterrupt):
        list(job.run())
    (state,) = rows_of(engine, imports)
    assert (state.rows_done, state.rows_refused, state.finished) == (45, 5, False)
    monkeypatch.setattr(bulk, "_store", store)
    assert "90 edges taken in, 10 rows refused" in list(job.run())[-1].text
    assert len(rows_of(engine, edges)) == 90
    assert [entry["line"] for entry in refused(importer)] == [n + 1 for n in range(100) if n % 10 == 3]


TEXTS = st.one_of(
    st.text(max_size=5),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    st.sampled_from(
        ["", "a b", "x" * 64, "x" * 65, "é" * 128, "é" * 129, "\u2003", "\x85", "\x1c", "\ufeff", "ok"]
    ),
)
VALUES = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(
        ["1", "-1.5e3", "1e999", " 1", "1_0", "nan", "inf", "+2", ".5", "{}", "[]", '{"a": [1, null]}']
    ),
    st.dictionaries(TEXTS, st.none() | st.integers(-(2**70), 2**70) | TEXTS | st.floats(), max_size=2),
    st.binary(max_size=2),
)


@pytest.mark.parametrize("kind", BULK_KINDS.values(), ids=BULK_KINDS)
@given(data=st.data())
def test_columns_are_checked_as_the_model_checks_a_row(kind: bulk.BulkKind, data: st.DataObject) -> None:
    row = st.fixed_dictionaries(
        {name: VALUES | st.just("fine") for name in kind.required},
        optional={name: VALUES for name in kind.columns if name not in kind.required},
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    accepted, told = [], []
    for number, values in enumerate(rows):
        try:
            model = kind.model.model_validate(filled(values))
            accepted.append(tuple(getattr(model, name) for name in kind.columns))
        except ValidationError:
            told.append(number)
    found, refusals = checked(kind, [RawRow({"line": n}, n, values) for n, values in enumerate(rows)])
    assert repr(found) == repr(accepted)
    assert [refusal.place["line"] for refusal in refusals] == told
    assert all(isinstance(refusal, Refusal) for refusal in refusals)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abé한"), st.sampled_from(["", "x", "\U0001d54f", "\uffff"]), st.integers())
    )
)
def test_rows_are_sorted_by_bytes_and_keep_their_order_else(rows: list[tuple[Any, ...]]) -> None:
    assert by_key(rows, 2) == sorted(rows, key=lambda row: (row[0].encode(), row[1].encode()))
