"""The API is killed with SIGKILL: what it answered 200 ms before is in the ledger, the rest is counted."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from nearfeed_contracts.tables import served_requests
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.sql import read_connection

SECRET = "a test's secret"
FLUSHED_SECONDS = 0.2


@contextmanager
def api(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", http.client.HTTPConnection]]:
    """The process, and a connection to it."""
    environment = {
        **os.environ,
        "NEARFEED_DATA_DIR": str(folder),
        "NEARFEED_VECTORS_URL": "memory://",
        "NEARFEED_SECRET": SECRET,
    }
    command = [sys.executable, "-m", "nearfeed_recommender", "api", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        started = next(line for line in process.stderr if '"started"' in line)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        host, port = json.loads(started)["address"].rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connect(connection)
        yield process, connection
    finally:
        process.kill()
        process.wait()


def connect(connection: http.client.HTTPConnection) -> None:
    """The address is bound before it is listened on."""
    for _ in range(600):
        try:
            return connection.connect()
        except ConnectionRefusedError:
            time.sleep(0.05)
    connection.connect()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status < 300, content
    return json.loads(content) if content else None


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """The data folder of a killed API, and its answers: how many seconds before the end each came."""
    folder = tmp_path_factory.mktemp("killed")
    came: dict[str, float] = {}
    with api(folder) as (process, connection):
        ask(connection, "PUT", "/v1/communities/c")
        post = {"community_id": "c", "author_id": "a", "title": "A post"}
        ask(connection, "PUT", "/v1/items/p", post)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            request_id = ask(connection, "GET", f"/v1/feed?user_id=u{len(came)}")["request_id"]
            came[request_id] = time.monotonic()
        end = time.monotonic()
        process.send_signal(signal.SIGKILL)
        process.wait()
    return folder, {request_id: end - at for request_id, at in came.items()}


def test_what_was_answered_before_is_in_the_ledger_and_the_rest_is_counted(
    answers: tuple[Path, dict[str, float]],
) -> None:
    folder, ages = answers
    settings = RecommenderSettings(data_dir=folder, vectors_url="memory://", secret=SECRET)
    service = bootstrap(settings)
    client = TestClient(service.app)
    context = client.app.state.context  # type: ignore[attr-defined]
    ended = threading.Event()
    ended.set()
    context.answers.feed.exposures.log.run(ended)  # what the process does that comes after it
    while any(consumer.run_once(0) for consumer in service.consumers):
        pass
    with read_connection(context.engine) as connection:
        kept = set(connection.scalars(select(served_requests.c.request_id)))
    summary = client.get("/v1/admin/ledger").json()
    service.close()
    lost = ages.keys() - kept
    assert len(ages) > 10
    assert summary["answers"] == len(kept & ages.keys())
    assert max((ages[request_id] for request_id in lost), default=0.0) <= FLUSHED_SECONDS
    assert summary["lost"].get("killed", 0) >= len(lost)
    assert not list((folder / "ledger").iterdir())
