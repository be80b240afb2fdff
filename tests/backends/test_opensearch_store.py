"""The OpenSearch store against answers that a healthy server does not give."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from nearfeed_backends.errors import BackendSettingError
from nearfeed_backends.opening import open_store
from nearfeed_backends.opensearch import store as opensearch_store
from nearfeed_backends.opensearch.mapping import inner_product
from nearfeed_backends.opensearch.store import OpenSearchStore
from nearfeed_contracts.vector_store import Filter, StoredVector, StoreUnavailableError, UnknownSpaceError

Answer = tuple[int, dict[str, Any]]
Respond = Callable[[str, str], Answer]
MAPPING = {"mappings": {"_meta": {"nearfeed": {"space": "s", "dim": 2}}}}
POSTS = [StoredVector(str(n), "c", "a", 0, np.ones(2, np.float32)) for n in range(4)]


class FakeServer:
    """Answers what `respond(path, body)` says, and keeps the paths and headers it was asked for."""

    def __init__(self) -> None:
        self.respond: Respond = lambda path, body: (200, {})
        self.headers: list[dict[str, str]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                fake.headers.append({name.lower(): value for name, value in self.headers.items()})
                code, content = (200, {"index": MAPPING}) if "_mapping" in self.path else (200, {})
                if "_mapping" not in self.path:
                    code, content = fake.respond(self.path, body)
                data = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def store(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenSearchStore]:
    monkeypatch.setattr(opensearch_store, "_FIRST_WAIT", 0.01)
    store = open_store(f"opensearch://{fake.address}")
    assert isinstance(store, OpenSearchStore)
    yield store
    store.close()


def ids(body: str) -> list[str]:
    return [json.loads(line)["index"]["_id"] for line in body.splitlines()[::2]]


def written(names: list[str], refused: set[str], status: int = 429) -> Answer:
    items = [
        {
            "index": {"_id": n, "status": status, "error": "busy"}
            if n in refused
            else {"_id": n, "status": 201}
        }
        for n in names
    ]
    return 200, {"errors": bool(refused), "items": items}


def test_rejected_posts_alone_are_written_again(fake: FakeServer, store: OpenSearchStore) -> None:
    calls: list[list[str]] = []

    def respond(path: str, body: str) -> Answer:
        calls.append(ids(body))
        return written(calls[-1], {"1", "3"} if len(calls) < 3 else set())

    fake.respond = respond
    store.upsert("s", POSTS)
    assert calls == [["0", "1", "2", "3"], ["1", "3"], ["1", "3"]]


def test_a_rejected_call_is_made_again(fake: FakeServer, store: OpenSearchStore) -> None:
    calls: list[list[str]] = []

    def respond(path: str, body: str) -> Answer:
        calls.append(ids(body))
        return (429, {"error": "too many requests"}) if len(calls) < 3 else written(calls[-1], set())

    fake.respond = respond
    store.upsert("s", POSTS)
    assert calls == [["0", "1", "2", "3"]] * 3


def test_what_is_rejected_for_ever_is_told(fake: FakeServer, store: OpenSearchStore) -> None:
    fake.respond = lambda path, body: written(ids(body), {"2"})
    with pytest.raises(StoreUnavailableError, match=r"refused to write 2 .*add nodes or write less"):
        store.upsert("s", POSTS)


def test_a_write_into_a_dropped_space_is_told(fake: FakeServer, store: OpenSearchStore) -> None:
    fake.respond = lambda path, body: written(ids(body), {"0", "1", "2", "3"}, 404)
    with pytest.raises(UnknownSpaceError, match="no space s"):
        store.upsert("s", POSTS)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_search_is_asked_once(fake: FakeServer, store: OpenSearchStore, status: int) -> None:
    calls: list[str] = []

    def respond(path: str, body: str) -> Answer:
        calls.append(path)
        return status, {"error": {"reason": "circuit breaking"}}

    fake.respond = respond
    with pytest.raises(StoreUnavailableError, match="circuit breaking"):
        store.search("s", np.ones(2, np.float32), 3, Filter())
    assert len(calls) == 1


def test_the_user_of_the_url_is_sent_and_a_wrong_one_told(fake: FakeServer) -> None:
    fake.respond = lambda path, body: (401, {"error": {"reason": "unauthorized"}})
    with pytest.raises(BackendSettingError, match=r"^NEARFEED_VECTORS_URL: .*correct name and password"):
        open_store(f"opensearch://user:p%40ss@{fake.address}")
    assert fake.headers[0]["authorization"] == "Basic dXNlcjpwQHNz"


def test_a_missing_plugin_is_told(fake: FakeServer, store: OpenSearchStore) -> None:
    reason = "unknown setting [index.knn] please check that any required plugins are installed"
    fake.respond = lambda path, body: (400, {"error": {"type": "illegal_argument", "reason": reason}})
    with pytest.raises(BackendSettingError, match=r"^NEARFEED_VECTORS_URL: .*install opensearch-knn"):
        store.create_space("s", 2)


def test_a_server_that_does_not_answer_is_told() -> None:
    with pytest.raises(
        StoreUnavailableError, match=r"^NEARFEED_VECTORS_URL: no OpenSearch answers at 127.0.0.1:1 .*start"
    ):
        open_store("opensearch://127.0.0.1:1")


@pytest.mark.parametrize("scheme", ["milvus", "opensearch"])
@pytest.mark.parametrize(
    ("rest", "fault"),
    [
        ("h:1?depth=3", "depth is unknown; the URL may set .*m, "),
        ("h:1?m=many", "m is wrong"),
        ("h:1?timeout=0", "timeout is wrong"),
        ("h:1?namespace=", "namespace is wrong"),
        ("h:1?namespace=My-App", "namespace is wrong"),
        (":1", "name a host"),
        ("h:port", "name a host"),
        ("h:99999", "name a host"),
    ],
)
def test_a_wrong_url_is_told(scheme: str, rest: str, fault: str) -> None:
    with pytest.raises(BackendSettingError, match=f"^NEARFEED_VECTORS_URL: {fault}"):
        open_store(f"{scheme}://{rest}")


@pytest.mark.parametrize("product", [0.0, 1e-6, 0.5, 1.0, 1e6, -1e-6, -0.5, -1.0, -1e6])
def test_scores_are_inner_products(product: float) -> None:
    score = np.float32(product + 1 if product >= 0 else 1 / (1 - product))
    assert inner_product(float(score)) == pytest.approx(product, rel=1e-6, abs=1e-6)
