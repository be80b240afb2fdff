"""Neighbours and lists of runs, written, read back, and answered from memory as an oracle answers."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nearfeed_contracts.runs import (
    LISTS,
    NEIGHBOURS,
    BrokenRunError,
    Manifest,
    RankedBatch,
    Run,
    open_run,
    write_lists,
    write_manifest,
    write_neighbours,
)
from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.models.lists import load_lists
from nearfeed_recommender.models.neighbours import load_neighbours

Row = tuple[str, str, int, float]
ITEMS = [f"p{number}" for number in range(12)]
WRITERS: Mapping[str, Callable[..., int]] = {"neighbours": write_neighbours, "lists": write_lists}
LOADERS: Mapping[str, Callable[[Run], Any]] = {"neighbours": load_neighbours, "lists": load_lists}
FILES = {"neighbours": NEIGHBOURS, "lists": LISTS}
COLUMNS = {"neighbours": ("item_id", "neighbour_id"), "lists": ("user_id", "item_id")}


def batches(rows: list[Row], size: int) -> Iterator[RankedBatch]:
    for start in range(0, len(rows), size):
        owners, items, ranks, scores = zip(*rows[start : start + size], strict=True)
        yield RankedBatch(
            pa.array(owners), pa.array(items), np.array(ranks, np.int32), np.array(scores, np.float32)
        )


def sealed(folder: Path, kind: Any) -> Run:
    url = folder.as_uri()
    write_manifest(
        url, Manifest(space="run", kind=kind, model="own", created_at=datetime(2026, 1, 1, tzinfo=UTC))
    )
    return open_run(url)


def run_of(folder: Path, kind: str, rows: list[Row], size: int = 1_000) -> Run:
    assert WRITERS[kind](folder.as_uri(), batches(rows, size)) == len(rows)
    return sealed(folder, kind)


@st.composite
def ranked_rows(draw: st.DrawFn, owners: list[str]) -> list[Row]:
    """Lists of some owners, their rows in any order; scores are multiples of 1/8, so that sums are exact."""
    rows = []
    for owner in draw(st.lists(st.sampled_from(owners), unique=True)):
        items = draw(st.lists(st.sampled_from([item for item in ITEMS if item != owner]), unique=True))
        scores = draw(st.lists(st.integers(-40, 80), min_size=len(items), max_size=len(items)))
        rows += [
            (owner, item, rank, score / 8)
            for rank, (item, score) in enumerate(zip(items, scores, strict=True), 1)
        ]
    return list(draw(st.permutations(rows)))


any_folder = hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def oracle_lists(rows: list[Row]) -> dict[str, list[Hit]]:
    lists: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        lists[row[0]].append(row)
    return {owner: [Hit(r[1], r[3]) for r in sorted(own, key=lambda r: r[2])] for owner, own in lists.items()}


@any_folder
@given(
    rows=ranked_rows(ITEMS),
    readings=st.lists(
        st.tuples(st.sampled_from([*ITEMS, "unknown"]), st.integers(0, 8).map(lambda n: n / 4))
    ),
    limit=st.integers(1, 15),
    exclude=st.sets(st.sampled_from(ITEMS)),
    size=st.integers(1, 30),
)
def test_neighbours_answer_as_the_oracle(
    rows: list[Row],
    readings: list[tuple[str, float]],
    limit: int,
    exclude: set[str],
    size: int,
    tmp_path: Path,
) -> None:
    model = load_neighbours(run_of(tmp_path, "neighbours", rows, size))
    lists = oracle_lists(rows)
    for item in [*ITEMS, "unknown"]:
        assert model.of(item) == lists.get(item, [])
        assert model.of(item, 2) == lists.get(item, [])[:2]
    sums: dict[str, float] = defaultdict(float)
    for item, weight in readings:
        for neighbour, score in lists.get(item, []):
            sums[neighbour] += weight * score
    best = sorted(sums.items(), key=lambda entry: (-entry[1], entry[0]))
    assert (
        list(model.closest(readings, limit, exclude))
        == [hit for hit in best if hit[0] not in exclude][:limit]
    )


@any_folder
@given(rows=ranked_rows(["u1", "u2", "u3", "*"]), size=st.integers(1, 30))
def test_lists_answer_as_the_oracle(rows: list[Row], size: int, tmp_path: Path) -> None:
    model = load_lists(run_of(tmp_path, "lists", rows, size))
    lists = oracle_lists(rows)
    for reader in ("u1", "u2", "u3", "stranger"):
        assert model.of(reader) == lists.get(reader, lists.get("*", []))
        assert model.of(reader, 3) == lists.get(reader, lists.get("*", []))[:3]


@pytest.mark.parametrize("kind", ["neighbours", "lists"])
@pytest.mark.parametrize(
    ("column", "values", "fault"),
    [
        ("score", pa.array([0.5, float("nan")]), "score of .* b is NaN or infinity"),
        ("score", pa.array([0.5, None]), "column score holds a null"),
        ("score", pa.array(["a", "b"]), "column score cannot be of type string"),
        ("rank", pa.array([1, 0]), "rank of .* b does not count from 1"),
        ("rank", pa.array([1, 2**31]), "rank of .* b does not count from 1"),
        ("rank", pa.array([1.0, 2.0]), "column rank cannot be of type double"),
        ("owner", pa.array(["a", None]), "holds a null"),
        ("owner", pa.array([1, 2]), "cannot be of type int64"),
        ("item", pa.array([1, 2]), "cannot be of type int64"),
        ("item", None, "lacks the column"),
        ("score", None, "lacks the column score"),
    ],
)
def test_rows_that_are_wrong_are_refused_by_file_and_column(
    kind: str, column: str, values: pa.Array | None, fault: str, tmp_path: Path
) -> None:
    owner, item = COLUMNS[kind]
    table = {owner: pa.array(["a", "b"]), item: pa.array(["x", "x"]), "rank": pa.array([1, 1])}
    table["score"] = pa.array([0.5, 0.25])
    name = {"owner": owner, "item": item}.get(column, column)
    if values is None:
        del table[name]
    else:
        table[name] = values
    pq.write_table(pa.table(table), tmp_path / FILES[kind])
    with pytest.raises(BrokenRunError, match=rf"^{FILES[kind]}.*{fault}"):
        LOADERS[kind](sealed(tmp_path, kind))


@pytest.mark.parametrize("kind", ["neighbours", "lists"])
@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([("a", "x", 1, 0.5), ("b", "x", 1, 0.5), ("a", "x", 2, 0.4)], "the list of a holds item x twice"),
        ([("a", "x", 3, 0.5), ("a", "y", 3, 0.4)], "the list of a holds rank 3 twice"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(
    kind: str, rows: list[Row], fault: str, tmp_path: Path
) -> None:
    with pytest.raises(BrokenRunError, match=f"{FILES[kind]}: {fault}"):
        LOADERS[kind](run_of(tmp_path, kind, rows))


def test_an_item_is_no_neighbour_of_itself(tmp_path: Path) -> None:
    with pytest.raises(BrokenRunError, match="item b is a neighbour of itself"):
        load_neighbours(run_of(tmp_path, "neighbours", [("a", "b", 1, 1.0), ("b", "b", 1, 1.0)]))


@pytest.mark.parametrize("kind", ["neighbours", "lists"])
def test_a_cut_file_is_told(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path.as_uri(), batches([("a", "x", 1, 0.5)] * 1, 1))
    file = tmp_path / FILES[kind]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BrokenRunError, match=f"{FILES[kind]} cannot be read as Parquet"):
        LOADERS[kind](sealed(tmp_path, kind))


@pytest.mark.parametrize("kind", ["neighbours", "lists"])
def test_an_empty_run_answers_nothing(kind: str, tmp_path: Path) -> None:
    assert LOADERS[kind](run_of(tmp_path, kind, [])).of("a") == []
