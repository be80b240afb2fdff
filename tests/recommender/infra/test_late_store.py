"""A recommender that starts while its back ends are down."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from nearfeed_backends.opening import open_store
from nearfeed_contracts.event_log import LogUnavailableError
from nearfeed_contracts.vector_store import StoreUnavailableError, VectorStore
from nearfeed_recommender.app import bootstrap as wiring
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.process import running

PATIENCE_SECONDS = 30


class Server:
    """A vector store that answers when it is told to."""

    up = False

    def open(self, url: str) -> VectorStore:
        if not self.up:
            raise StoreUnavailableError(f"NEARFEED_VECTORS_URL: nothing answers at {url}.")
        return open_store("memory://")


def test_the_api_starts_without_its_vector_store_and_finds_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    monkeypatch.setattr(wiring, "open_store", server.open)
    settings = RecommenderSettings(data_dir=tmp_path, vectors_url="milvus://away:19530")
    with closing(wiring.bootstrap(settings)) as service, running(service.api_loops):
        client = TestClient(service.app)
        assert client.get("/v1/feed?user_id=u").status_code == 200
        assert client.get("/readyz").json()["checks"]["vectors"] is False
        assert client.get("/readyz").status_code == 200
        server.up = True
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not client.get("/readyz").json()["checks"]["vectors"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_an_api_without_its_log_stays_ready_for_it_still_serves_feeds(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(topic: str) -> dict[int, int]:
        raise LogUnavailableError("the log is away")

    monkeypatch.setattr(served.log, "end_offsets", away)
    ready = served.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"] == {"database": True, "log": False, "vectors": True}
