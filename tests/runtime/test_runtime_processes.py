"""Services as processes of their own: they say what they lack, answer probes, and stop in order."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from nearfeed_backends.opening import open_database, open_log
from nearfeed_contracts.errors import BackendUnavailableError, NearfeedError
from nearfeed_contracts.events import Interaction
from nearfeed_contracts.tables import interactions, positions
from nearfeed_contracts.topics import INTERACTIONS, record_of
from nearfeed_recommender.users.consumer import GROUP
from nearfeed_runtime import process as process_module
from nearfeed_runtime.process import opened

PATIENCE_SECONDS = 60
PROCESSES = {
    "consumer": ["nearfeed_recommender", "consume"],
    "indexer": ["nearfeed_indexer", "run"],
    "embedder": ["nearfeed_embedder", "run"],
}


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def environment(data_dir: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "NEARFEED_DATA_DIR": str(data_dir), "NEARFEED_VECTORS_URL": "memory://", **more}


@contextmanager
def process(arguments: list[str], env: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], env=env, stderr=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def wait_for(port: int, path: str) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as found:
                return str(found.read().decode())
        except OSError:
            assert time.monotonic() < deadline, f"{path} was not answered in time"
            time.sleep(0.1)


def stop(started: "subprocess.Popen[str]") -> list[dict[str, object]]:
    """Ends a process by SIGTERM; its logs, each line an object."""
    started.send_signal(signal.SIGTERM)
    _, logs = started.communicate(timeout=PATIENCE_SECONDS)
    assert started.returncode == 0, logs
    return [json.loads(line) for line in logs.splitlines()]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_answers_probes_and_stops_in_order(name: str, tmp_path: Path) -> None:
    port = free_port()
    with process(PROCESSES[name], environment(tmp_path, NEARFEED_HEALTH_PORT=str(port))) as started:
        ready = json.loads(wait_for(port, "/readyz"))
        assert ready == {"ready": True, "checks": {"loops": True, "database": True}}
        assert json.loads(wait_for(port, "/healthz")) == {"status": "ok", "version": version("nearfeed")}
        assert "nearfeed_consume_failures" in wait_for(port, "/metrics")
        logs = stop(started)
    assert [line["event"] for line in logs] == ["started", "stopping", "stopped"]


def test_the_api_stops_in_order(tmp_path: Path) -> None:
    port = free_port()
    with process(["nearfeed_recommender", "api", "--port", str(port)], environment(tmp_path)) as started:
        assert json.loads(wait_for(port, "/readyz"))["ready"]
        logs = stop(started)
    assert [line["event"] for line in logs] == ["started", "stopped"]


def test_a_consumer_that_is_told_to_stop_has_committed_what_it_read(tmp_path: Path) -> None:
    events = [
        Interaction(user_id=f"u{n % 50}", item_id=f"i{n}", kind="read", occurred_at=datetime.now(UTC))
        for n in range(5_000)
    ]
    engine = open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    with closing(open_log(f"embedded://{tmp_path}/log.db")) as log:
        log.append([record_of(event) for event in events])
    with process(PROCESSES["consumer"], environment(tmp_path)) as started:
        while not _consumed(engine):
            time.sleep(0.02)
        stop(started)
    assert 0 < _rows(engine) == _consumed(engine)
    engine.dispose()


def test_what_is_wrong_with_the_settings_is_told_in_one_sentence(tmp_path: Path) -> None:
    wrong = {
        "consumer": ("NEARFEED_HEALTH_PORT", "70000"),
        "indexer": ("NEARFEED_DATABASE_URL", "postgres://nowhere"),
        "embedder": ("NEARFEED_LOG_URL", "carrier-pigeon://nowhere"),
    }
    for name, (setting, value) in wrong.items():
        done = subprocess.run(
            [sys.executable, "-m", *PROCESSES[name]],
            env=environment(tmp_path, **{setting: value}),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 2, (setting, done.stderr)
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"nearfeed: {setting}: ")


def test_a_service_waits_for_a_server_that_is_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "_RETRY_SECONDS", 0.0)
    failures = [BackendUnavailableError("no broker answers"), BackendUnavailableError("no Milvus answers")]

    def bootstrap() -> str:
        if failures:
            raise failures.pop()
        return "service"

    assert opened(bootstrap) == "service"
    assert not failures


def test_a_service_ends_where_a_server_does_not_start_or_a_setting_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[NearfeedError] = []

    def bootstrap(error: NearfeedError) -> None:
        calls.append(error)
        raise error

    wrong, missing = NearfeedError("no such scheme"), BackendUnavailableError("no broker answers")
    with pytest.raises(NearfeedError, match="no such scheme"):
        opened(lambda: bootstrap(wrong))
    assert calls == [wrong]
    monkeypatch.setattr(process_module, "_SERVERS_START_SECONDS", 0.05)
    monkeypatch.setattr(process_module, "_RETRY_SECONDS", 0.01)
    with pytest.raises(BackendUnavailableError, match="no broker"):
        opened(lambda: bootstrap(missing))
    assert calls.count(missing) > 1


def test_migrate_makes_the_schema(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nearfeed_recommender", "migrate"]
    subprocess.run(command, env=environment(tmp_path), check=True)
    assert (tmp_path / "nearfeed.db").exists()


def _rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(interactions))


def _consumed(engine: Engine) -> int:
    with engine.connect() as connection:
        query = select(func.sum(positions.c.next_offset)).where(
            positions.c.topic == INTERACTIONS.name, positions.c.consumer_group == GROUP
        )
        return connection.scalar(query) or 0
