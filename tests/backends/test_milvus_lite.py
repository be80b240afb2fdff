import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

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


def item_ids(store: VectorStore, k: int = 16_384) -> set[str]:
    return {hit.item_id for hit in store.search(SPACE, ONES, k, Filter())}


def segments(folder: Path) -> list[Path]:
    return list(folder.glob("collections/*/partitions/*/data/*.parquet"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors.db"


@pytest.fixture
def store(folder: Path) -> Iterator[VectorStore]:
    store = open_store(f"milvus-lite://{folder}")
    store.create_space(SPACE, DIM)
    yield store
    store.close()


UPSERT_UNTIL_KILLED = """
import sys, numpy
from nearfeed_backends.opening import open_store
from nearfeed_contracts.vector_store import StoredVector
store = open_store("milvus-lite://" + sys.argv[1])
store.create_space("space", 8)
for number in range(1_000_000):
    store.upsert("space", [StoredVector(str(number), "c", "a", number, numpy.ones(8, "f4") * number)])
    if number % 10 == 9:
        store.delete("space", [str(number - 5)])
    if number % 3 == 0:
        store.flush("space")
    print(number, flush=True)
"""


def test_every_upsert_that_returned_survives_a_kill_flushed_or_not(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", UPSERT_UNTIL_KILLED, str(folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 700:
                child.kill()
        returned = int(line)
    assert segments(folder), "the child was killed before Milvus Lite wrote a segment"
    store = open_store(f"milvus-lite://{folder}")
    expected = {str(n) for n in range(returned + 1)} - {str(n - 5) for n in range(9, returned + 1, 10)}
    surplus = item_ids(store) - expected
    assert expected - item_ids(store) <= {str(returned + 1 - 5)}
    assert surplus <= {str(returned + 1)}
    assert store.fetch(SPACE, ["123"])["123"].tolist() == [123] * DIM
    store.close()


def test_what_was_written_is_there_after_reopening_in_one_process(store: VectorStore, folder: Path) -> None:
    store.upsert(SPACE, [post(n) for n in range(5)])
    store.delete(SPACE, ["3"])
    for _ in range(3):
        store.close()
        store = open_store(f"milvus-lite://{folder}")
        assert store.spaces() == {SPACE}
        assert item_ids(store) == {"0", "1", "2", "4"}
    store.close()


def test_single_upserts_with_a_flush_each_make_few_segments(store: VectorStore, folder: Path) -> None:
    for number in range(600):
        store.upsert(SPACE, [post(number)])
        store.flush(SPACE)
        assert str(number) in store.fetch(SPACE, [str(number)])
    assert 1 <= len(segments(folder)) <= 3
    assert store.count(SPACE) == 600


def test_searches_beside_writes_find_all_that_was_written(store: VectorStore) -> None:
    written = [0]
    done = threading.Event()

    def write() -> None:
        try:
            for batch in range(1, 25):
                store.upsert(SPACE, [post(1_000 * batch + n, f"batch {batch}") for n in range(100)])
                written.append(batch)
                store.flush(SPACE)
        finally:
            done.set()

    def search(_: int) -> int:
        searches = 0
        while not done.is_set():
            batch = written[-1]
            hits = store.search(SPACE, ONES, 200, Filter(community_ids=frozenset({f"batch {batch}"})))
            assert len(hits) == (100 if batch else 0)
            searches += 1
        return searches

    with ThreadPoolExecutor(4) as threads:
        writer = threads.submit(write)
        searches = list(threads.map(search, range(3)))
        writer.result()
    assert sum(searches) > 0
    assert store.count(SPACE) == 2_400


def test_a_search_beside_closing_is_answered_or_told(store: VectorStore) -> None:
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


def test_spaces_are_written_and_dropped_beside_each_other(store: VectorStore) -> None:
    def fill_and_drop(number: int) -> None:
        for _ in range(3):
            store.create_space(f"s{number}", DIM)
            store.upsert(f"s{number}", [post(n) for n in range(300)])
            store.flush(f"s{number}")
            assert store.count(f"s{number}") == 300
            store.drop_space(f"s{number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(fill_and_drop, range(4)))
    assert store.spaces() == {SPACE}


def test_a_folder_in_use_is_refused(store: VectorStore, folder: Path) -> None:
    with pytest.raises(
        BackendSettingError, match=r"^NEARFEED_VECTORS_URL: .* is in use by another process; end it"
    ):
        open_store(f"milvus-lite://{folder}")
    assert store.count(SPACE) == 0


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path / "file", tmp_path / "file" / "vectors.db"):
        with pytest.raises(
            BackendSettingError, match=r"^NEARFEED_VECTORS_URL: .* cannot be used .*; name another"
        ):
            open_store(f"milvus-lite://{path}")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def garble(file: Path) -> None:
    file.write_bytes(b"\xff" * file.stat().st_size)


@pytest.mark.parametrize(
    ("pattern", "harm"),
    [
        ("partitions/*/data/*.parquet", cut),
        ("partitions/*/data/*.parquet", garble),
        ("partitions/*/data/*.parquet", Path.unlink),
        ("manifest.json*", cut),
        ("manifest.json", garble),
        ("schema.json", cut),
        ("schema.json", garble),
    ],
)
def test_a_damaged_space_is_told(
    store: VectorStore, folder: Path, pattern: str, harm: Callable[[Path], None]
) -> None:
    store.upsert(SPACE, [post(n) for n in range(300)])
    store.flush(SPACE)
    store.close()
    files = list(folder.glob(f"collections/*/{pattern}"))
    assert files
    for file in files:
        harm(file)
    for _ in range(2):
        with pytest.raises(
            BackendSettingError, match=r"^NEARFEED_VECTORS_URL: .*damaged.*; remove that folder"
        ):
            open_store(f"milvus-lite://{folder}")


def test_a_space_whose_making_was_broken_off_can_be_made(store: VectorStore, folder: Path) -> None:
    [collection] = folder.glob("collections/*")
    store.close()
    (collection / "schema.json").unlink()
    store = open_store(f"milvus-lite://{folder}")
    assert store.spaces() == frozenset()
    store.create_space(SPACE, DIM)
    assert item_ids(store) == set()
    store.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_port_is_opened(store: VectorStore) -> None:
    assert store.count(SPACE) == 0
    descriptors = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    mine = {os.readlink(path) for path in descriptors if os.path.lexists(path)}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            assert f"socket:[{line.split()[9]}]" not in mine


def test_closing_leaves_no_socket_and_no_lock(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(5):
        store = open_store(f"milvus-lite://{folder}")
        store.create_space(SPACE, DIM)
        store.close()
    after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert after <= before + 3


def test_a_refused_call_prints_nothing(store: VectorStore, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownSpaceError):
        store.count("unheard-of")
    assert capfd.readouterr() == ("", "")
