"""What only servers can do: die, hang and come back, under a store that stays open."""

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from benchmarks.proxy import proxied
from tests.vector_servers import milvus_url, opensearch_url

from nearfeed_backends.opening import open_store
from nearfeed_contracts.vector_store import Filter, StoredVector, StoreUnavailableError, VectorStore

pytestmark = pytest.mark.server

SCRIPTS = Path(__file__).parents[2] / "tools" / "servers"
CACHE = Path(os.environ.get("NEARFEED_CACHE", Path.home() / ".cache" / "nearfeed"))
ONES = np.ones(8, np.float32)
SPACE = "test of servers that die"


@pytest.fixture(params=["milvus", "opensearch"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param
    subprocess.run([SCRIPTS / f"{request.param}.sh", "start"], check=True)


@pytest.fixture
def store(server: str) -> Iterator[VectorStore]:
    store = open_store({"milvus": milvus_url, "opensearch": opensearch_url}[server]("?timeout=1"))
    store.drop_space(SPACE)
    store.create_space(SPACE, 8)
    write(store, range(100))
    yield store
    store.drop_space(SPACE)
    store.close()


def write(store: VectorStore, numbers: range) -> None:
    store.upsert(SPACE, [StoredVector(str(n), "c", "a", n, ONES * n) for n in numbers])
    store.flush(SPACE)


def found(store: VectorStore) -> int:
    return len(store.search(SPACE, ONES, 1_000, Filter(published_after=0)))


def process(server: str) -> int:
    return int((CACHE / server / f"{server}.pid").read_text())


def kill(server: str) -> None:
    """Ends a server as a crash does, and waits until it is gone."""
    pid = process(server)
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.05)


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for what comes by itself."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            if holds():
                return
        except StoreUnavailableError:
            pass
        time.sleep(0.1)
    pytest.fail(f"nothing changed within {seconds:.0f} s")


def test_a_killed_server_is_told_at_once_and_found_again(server: str, store: VectorStore) -> None:
    assert found(store) == 100
    kill(server)
    seconds = []
    for _ in range(5):
        begun = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="NEARFEED_VECTORS_URL"):
            found(store)
        seconds.append(time.monotonic() - begun)
    assert statistics.median(seconds) < 0.3
    with pytest.raises(StoreUnavailableError):
        store.spaces()
    subprocess.run([SCRIPTS / f"{server}.sh", "start"], check=True)
    until(lambda: found(store) == 100)
    write(store, range(100, 200))
    assert found(store) == store.count(SPACE) == 200


def test_a_connection_that_dies_in_silence_is_given_up(server: str, store: VectorStore) -> None:
    place = {"milvus": milvus_url, "opensearch": opensearch_url}[server]()
    with proxied(int(place.rpartition(":")[2])) as proxy:
        through = open_store(f"{server}://127.0.0.1:{proxy.port}?timeout=1")
        assert found(through) == 100
        proxy.be_silent()
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            found(through)
        proxy.pass_on()
        until(lambda: found(through) == 100, seconds=30)
        through.close()


def test_a_server_that_hangs_is_told_within_the_timeout(server: str, store: VectorStore) -> None:
    os.kill(process(server), signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            found(store)
    finally:
        os.kill(process(server), signal.SIGCONT)
    until(lambda: found(store) == 100)
