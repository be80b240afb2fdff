import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_backends.embedded import space_rows
from nearfeed_backends.embedded.numpy_store import NumpyStore
from nearfeed_backends.errors import BackendSettingError
from nearfeed_backends.opening import open_store
from nearfeed_contracts.vector_store import (
    Filter,
    StoredVector,
    StoreUnavailableError,
    UnknownSpaceError,
    VectorStore,
)

DIM = 8
ONES = np.ones(DIM, np.float32)
SPACE = "space"


def post(number: int, community: str = "c") -> StoredVector:
    return StoredVector(str(number), community, "a", number, ONES * number)


def ids_in(store: VectorStore, k: int = 100_000) -> set[str]:
    return set(store.search(SPACE, ONES, k, Filter()).item_ids)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


@pytest.fixture
def store(folder: Path) -> Iterator[VectorStore]:
    store = open_store(f"faiss://{folder}")
    store.create_space(SPACE, DIM)
    yield store
    store.close()


UPSERT_UNTIL_KILLED = """
import sys, numpy
from nearfeed_backends.opening import open_store
from nearfeed_contracts.vector_store import StoredVector
store = open_store("faiss://" + sys.argv[1])
store.create_space("space", 8)
ones = numpy.ones(8, "f4")
for batch in range(1_000_000):
    posts = [StoredVector(f"{batch}/{n}", f"c{batch}", "a", batch, ones * batch) for n in range(50)]
    store.upsert("space", posts)
    store.delete("space", [f"{batch}/7"])
    store.upsert("space", [StoredVector("changing", f"c{batch}", "a", batch, ones * batch)])
    store.flush("space")
    print(batch, flush=True)
"""


def test_what_was_flushed_survives_a_kill_in_the_middle_of_upserts(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", UPSERT_UNTIL_KILLED, str(folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 150:
                child.kill()
        flushed = int(line)
    store = open_store(f"faiss://{folder}")
    begun = flushed + 1
    for batch in (0, 77, flushed):
        only = Filter(community_ids=frozenset({f"c{batch}"}))
        found = set(store.search(SPACE, ONES, 100, only).item_ids)
        assert found - {"changing"} == {f"{batch}/{n}" for n in range(50) if n != 7}
        assert store.fetch(SPACE, [f"{batch}/3"])[f"{batch}/3"].tolist() == [batch] * DIM
    of_begun = [f"{begun}/{n}" for n in range(50)]
    assert len(store.fetch(SPACE, of_begun)) in (0, 49, 50)
    assert store.fetch(SPACE, ["changing"])["changing"][0] in (flushed, begun)
    assert store.count(SPACE) == len(ids_in(store))
    store.upsert(SPACE, [post(1)])
    assert "1" in ids_in(store)
    store.close()


vectors = st.integers(-50, 50).map(lambda n: (ONES * n).astype(np.float32))
ids = st.sampled_from([f"i{n}" for n in range(12)])
posts = st.builds(
    StoredVector,
    ids,
    st.sampled_from(["c1", "c2"]),
    st.sampled_from(["a1", "a2"]),
    st.integers(0, 9),
    vectors,
)
steps = st.lists(
    st.tuples(st.just("upsert"), st.lists(posts, max_size=12))
    | st.tuples(st.just("delete"), st.lists(ids, max_size=6))
    | st.tuples(st.just("reopen"), st.just(())),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, dead_rows=st.sampled_from([0, 2, 4_096]))
def test_any_order_of_updates_deletions_and_openings_is_as_the_exact_store(
    tmp_path_factory: pytest.TempPathFactory, steps: list, dead_rows: int
) -> None:
    url = f"faiss://{tmp_path_factory.mktemp('faiss')}/vectors"
    exact, store = NumpyStore(), open_store(url)
    where = Filter(frozenset({"c1"}), 2, frozenset({"i3"}), frozenset({"a2"}))
    with patch.object(space_rows, "_LEAST_DEAD", dead_rows), patch.object(space_rows, "MIN_ROWS", 4):
        for each in (exact, store):
            each.create_space(SPACE, DIM)
        for name, argument in steps:
            if name == "reopen":
                store.close()
                store = open_store(url)
            else:
                getattr(exact, name)(SPACE, argument)
                getattr(store, name)(SPACE, argument)
            assert store.search(SPACE, ONES, 100, Filter()) == exact.search(SPACE, ONES, 100, Filter())
            assert store.search(SPACE, ONES, 3, where) == exact.search(SPACE, ONES, 3, where)
            assert store.count(SPACE) == exact.count(SPACE)
    store.close()


def test_searches_beside_upserts_see_whole_posts_alone(store: VectorStore) -> None:
    """Version v of each post has the vector v · 1 and is in the community of v."""
    names = [f"p{n}" for n in range(200)]

    def put(version: int) -> None:
        store.upsert(
            SPACE,
            [StoredVector(name, f"c{version}", f"a{version}", version, ONES * version) for name in names],
        )

    put(1)
    done = threading.Event()

    def write() -> None:
        try:
            for version in range(2, 120):
                put(version)
        finally:
            done.set()

    def search(_: int) -> set[float]:
        seen = set()
        while not done.is_set():
            hits = store.search(SPACE, ONES, 1_000, Filter())
            assert len(hits) == len(set(hits.item_ids)) == 200
            [score] = set(hits.scores.tolist())
            version = int(score / DIM)
            of_version = Filter(frozenset({f"c{version}"}), version)
            assert set(store.search(SPACE, ONES, 1_000, of_version).scores.tolist()) <= {score}
            seen.add(score)
        return seen

    with ThreadPoolExecutor(4) as threads, patch.object(space_rows, "_LEAST_DEAD", 500):
        writer = threads.submit(write)
        seen = set().union(*threads.map(search, range(3)))
        writer.result()
    assert len(seen) > 1
    assert store.search(SPACE, ONES, 1, Filter()).scores.tolist() == [119 * DIM]


def test_a_set_of_ids_that_was_searched_with_covers_posts_that_come_later(store: VectorStore) -> None:
    chosen = frozenset(str(n) for n in range(0, 100, 2))
    store.upsert(SPACE, [post(n) for n in range(50)])
    among, without = Filter(item_ids=chosen), Filter(exclude_item_ids=chosen)
    assert set(store.search(SPACE, ONES, 100, among).item_ids) == {str(n) for n in range(0, 50, 2)}
    store.upsert(SPACE, [post(n) for n in range(40, 100)])
    store.delete(SPACE, ["2"])
    assert set(store.search(SPACE, ONES, 100, among).item_ids) == chosen - {"2"}
    assert set(store.search(SPACE, ONES, 100, without).item_ids) == {str(n) for n in range(1, 100, 2)}


def test_hits_of_one_score_come_in_the_order_of_their_ids(store: VectorStore) -> None:
    names = [f"p{n:04}" for n in np.random.default_rng(0).permutation(3_000)]
    store.upsert(SPACE, [StoredVector(name, "c", "a", 0, ONES) for name in names])
    assert store.search(SPACE, ONES, 3_000, Filter()).item_ids == sorted(names)
    found = store.search(SPACE, ONES, 10, Filter()).item_ids
    assert found == sorted(found)


def test_a_search_beside_closing_is_answered_or_refused(store: VectorStore) -> None:
    store.upsert(SPACE, [post(n) for n in range(50)])

    def search_on() -> None:
        while True:
            assert len(store.search(SPACE, ONES, 100, Filter())) == 50

    with ThreadPoolExecutor(3) as threads:
        searches = [threads.submit(search_on) for _ in range(3)]
        store.search(SPACE, ONES, 1, Filter())
        store.close()
        for each in searches:
            with pytest.raises(StoreUnavailableError, match="closed"):
                each.result()


def test_spaces_are_written_and_dropped_beside_each_other(store: VectorStore, folder: Path) -> None:
    def fill_and_drop(number: int) -> None:
        for _ in range(3):
            store.create_space(f"s{number}", DIM)
            store.upsert(f"s{number}", [post(n) for n in range(300)])
            assert store.count(f"s{number}") == 300
            store.drop_space(f"s{number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(fill_and_drop, range(4)))
    assert store.spaces() == {SPACE}
    assert len(list(folder.glob("*.db"))) == 1


def test_what_a_broken_creation_or_removal_has_left_is_removed(store: VectorStore, folder: Path) -> None:
    store.close()
    [file] = folder.glob("*.db")
    file.rename(file.with_suffix(".part"))
    (folder / "gone.db-wal").write_bytes(b"left")
    store = open_store(f"faiss://{folder}")
    assert store.spaces() == frozenset()
    assert {path.name for path in folder.iterdir()} == {"lock"}
    store.create_space(SPACE, DIM)
    assert ids_in(store) == set()
    store.close()


def test_a_folder_in_use_is_refused(store: VectorStore, folder: Path) -> None:
    store.upsert(SPACE, [post(1)])
    with pytest.raises(BackendSettingError, match=r"^NEARFEED_VECTORS_URL: .* is in use .*; end it, or name"):
        open_store(f"faiss://{folder}")
    assert ids_in(store) == {"1"}


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path / "file", tmp_path / "file" / "vectors"):
        with pytest.raises(
            BackendSettingError, match=r"^NEARFEED_VECTORS_URL: .* cannot be used .*; name another"
        ):
            open_store(f"faiss://{path}")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def garble(file: Path) -> None:
    file.write_bytes(b"\xff" * file.stat().st_size)


def garble_the_end(file: Path) -> None:
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[: size // 2] + b"\xff" * (size - size // 2))


@pytest.mark.parametrize("harm", [cut, empty, garble, garble_the_end])
def test_a_damaged_space_is_reported(store: VectorStore, folder: Path, harm: Callable[[Path], None]) -> None:
    store.upsert(SPACE, [post(n) for n in range(2_000)])
    store.close()
    [file] = folder.glob("*.db")
    harm(file)
    for _ in range(2):
        with pytest.raises(
            BackendSettingError, match=r"^NEARFEED_VECTORS_URL: .*damaged.*; remove that file"
        ):
            open_store(f"faiss://{folder}")
    file.unlink()
    store = open_store(f"faiss://{folder}")
    assert store.spaces() == frozenset()
    store.close()


def test_a_failed_write_changes_nothing(store: VectorStore, folder: Path) -> None:
    store.upsert(SPACE, [post(1)])
    [file] = folder.glob("*.db")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON vectors WHEN new.item_id = '3' "
            "BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
    with pytest.raises(StoreUnavailableError, match=r"cannot be written \(disk full\)"):
        store.upsert(SPACE, [post(2), post(3)])
    assert ids_in(store) == {"1"}
    store.close()
    store = open_store(f"faiss://{folder}")
    assert ids_in(store) == {"1"}
    store.close()


@pytest.mark.parametrize("imports", ["torch, faiss", "faiss, torch"])
def test_torch_and_faiss_work_in_one_process(folder: Path, imports: str) -> None:
    program = f"""
import {imports}, numpy
from nearfeed_backends.opening import open_store
from nearfeed_contracts.vector_store import Filter, StoredVector
threads = torch.get_num_threads()
store = open_store("faiss://{folder}")
store.create_space("space", 8)
ones = numpy.ones(8, "f4")
store.upsert("space", [StoredVector(str(n), "c", "a", n, ones * n) for n in range(3_000)])
for k in (2, 2_500):
    assert store.search("space", ones, k, Filter()).item_ids[:2] == ["2999", "2998"]
    assert store.search("space", ones, k, Filter(published_after=2_990)).item_ids[:1] == ["2999"]
    a = torch.ones(300, 300)
    assert (a @ a).sum().item() == 300 ** 3
assert torch.get_num_threads() == threads
store.close()
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_unknown_space_is_refused_after_a_drop(store: VectorStore) -> None:
    store.drop_space(SPACE)
    with pytest.raises(UnknownSpaceError):
        store.upsert(SPACE, [post(1)])
