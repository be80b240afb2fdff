import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.runs import MANIFEST, VECTORS, BrokenRunError, Manifest, VectorBatch, write_manifest
from nearfeed_indexer import loading
from nearfeed_indexer.loading import Loader, load_run

Change = Callable[[pa.Table], pa.Table]


def _set(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def _with_nan(table: pa.Table) -> pa.Table:
    rows = table["vector"].to_pylist()
    rows[2][1] = float("nan")
    return _set(table, "vector", pa.array(rows, pa.list_(pa.float32())))


def _uneven(table: pa.Table) -> pa.Table:
    rows = table["vector"].to_pylist()
    rows[0], rows[1] = rows[0][:3], [*rows[1], 1.0]
    return _set(table, "vector", pa.array(rows, pa.list_(pa.float32())))


CHANGES: dict[str, tuple[Change, str]] = {
    "NaN": (_with_nan, "vector of item i2 holds NaN"),
    "uneven": (_uneven, "have not 4 dimensions"),
    "missing column": (lambda t: t.drop_columns(["vector"]), "lacks the column vector"),
    "numbers as ids": (lambda t: _set(t, "item_id", pa.array(range(5))), "item_id cannot be of type int64"),
    "text as vectors": (lambda t: _set(t, "vector", pa.array(["x"] * 5)), "vector cannot be of type string"),
    "null id": (lambda t: _set(t, "item_id", pa.array([None, *"abcd"])), "item_id holds a null"),
    "null version": (
        lambda t: _set(t, "version", pa.array([None, 1, 1, 1, 1], pa.int64())),
        "version holds a null",
    ),
    "twice": (lambda t: _set(t, "item_id", pa.array(["i1", *"abc", "i1"])), "holds an item twice"),
    "no rows": (lambda t: t.slice(0, 0), "holds no rows"),
}


@pytest.fixture
def run_folder(world: Any, tmp_path: Path) -> Path:
    world.add_items(*(f"i{n}" for n in range(5)))
    world.write_run(tmp_path, "s1", {f"i{n}": 1 for n in range(5)})
    return tmp_path / "s1"


def _reseal(folder: Path, **changes: Any) -> None:
    """Writes the manifest anew, so that the checksums are right and the content is at fault."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    write_manifest(folder.as_uri(), manifest.model_copy(update=changes))


def _check_refused(world: Any, folder: Path, said: str, name: str = "s1") -> None:
    loader = Loader(world.engine, world.store, folder.parent.as_uri(), 0, lambda: None)
    with pytest.raises(NearfeedError) as refused:
        list(load_run(loader, name))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not str(refused.value).endswith("..")
    assert world.spaces() == {}
    assert world.contexts("s1") == {}
    assert world.exact.spaces() == frozenset()


@pytest.mark.parametrize("fault", CHANGES)
def test_broken_vectors_leave_nothing_behind(world: Any, run_folder: Path, fault: str) -> None:
    change, said = CHANGES[fault]
    pq.write_table(change(pq.read_table(run_folder / VECTORS)), run_folder / VECTORS)
    _reseal(run_folder)
    _check_refused(world, run_folder, said)


def test_a_wrong_dimension_in_the_manifest_is_refused(world: Any, run_folder: Path) -> None:
    manifest = json.loads((run_folder / MANIFEST).read_text())
    manifest["dim"], manifest["blocks"][0]["dim"] = 5, 5
    (run_folder / MANIFEST).write_text(json.dumps(manifest))
    _check_refused(world, run_folder, "have not 5 dimensions")


def test_a_changed_file_does_not_pass_its_checksum(world: Any, run_folder: Path) -> None:
    with (run_folder / VECTORS).open("ab") as file:
        file.write(b"x")
    _check_refused(world, run_folder, "vectors.parquet does not have the checksum")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_cut_file_is_refused(world: Any, run_folder: Path, share: float) -> None:
    whole = (run_folder / VECTORS).read_bytes()
    (run_folder / VECTORS).write_bytes(whole[: int(len(whole) * share)])
    _reseal(run_folder)
    _check_refused(world, run_folder, "vectors.parquet cannot be read as Parquet")


def test_a_missing_file_is_named(world: Any, run_folder: Path) -> None:
    (run_folder / VECTORS).unlink()
    _check_refused(world, run_folder, "vectors.parquet is missing")


def test_a_manifest_that_is_none_is_refused(world: Any, run_folder: Path) -> None:
    (run_folder / MANIFEST).write_text('{"space": "s1"}')
    _check_refused(world, run_folder, "manifest.json is no manifest: model")
    (run_folder / MANIFEST).write_text('{"space": "s1",')
    _check_refused(world, run_folder, "manifest.json is no manifest: Invalid JSON: EOF")


def test_an_unknown_run_names_those_that_exist(world: Any, run_folder: Path) -> None:
    _check_refused(world, run_folder, f"Runs of {run_folder.parent.as_uri()}: s1", name="nothing")


def test_an_unknown_scheme_is_told(world: Any, run_folder: Path) -> None:
    _check_refused(world, run_folder, "nope://x/s1 cannot be opened", name="nope://x/s1")


def test_runs_of_other_kinds_are_refused(world: Any, run_folder: Path) -> None:
    (run_folder / VECTORS).rename(run_folder / "lists.parquet")
    _reseal(run_folder, kind="lists")
    _check_refused(world, run_folder, "is a run of kind lists; only runs of vectors are loaded")


def test_a_run_that_breaks_while_it_is_loaded_is_taken_out_again(
    world: Any, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = world.checked_run(run_folder.as_uri())

    def break_off(rows: int = 2) -> Iterator[VectorBatch]:
        yield VectorBatch(["i1"], np.ones((1, 4), np.float32), np.ones((1, 4), np.float32), None)
        raise BrokenRunError("vectors.parquet broke")

    def already_checked(_: Any) -> Any:
        checked.run.vector_batches = break_off
        return checked
        yield

    monkeypatch.setattr(loading, "check_run", already_checked)
    _check_refused(world, run_folder, "vectors.parquet broke")
