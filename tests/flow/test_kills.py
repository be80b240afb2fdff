"""kill -9 in the middle of import, load and event traffic: nothing lost, nothing twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmarks.server import free_port, wait_ready
from sqlalchemy import create_engine, func, select

from nearfeed_contracts.runs import open_run, run_url
from nearfeed_contracts.tables import active_space, interactions, item_contexts, items, memberships

pytestmark = pytest.mark.slow
CONTENT = {
    "items": [items.c.item_id, items.c.title, items.c.community_id, items.c.published_at, items.c.tags],
    "interactions": [column for column in interactions.c],
    "memberships": [memberships.c.user_id, memberships.c.community_id, memberships.c.joined_at],
}


def content(data_dir: Path, kind: str) -> set[tuple[Any, ...]]:
    """The rows of a table."""
    engine = create_engine(f"sqlite:///{data_dir}/nearfeed.db")
    with engine.connect() as connection:
        rows = {tuple(row) for row in connection.execute(select(*CONTENT[kind]))}
    engine.dispose()
    return rows


def start(data_dir: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "nearfeed_standalone", "--data-dir", str(data_dir), *arguments]
    return subprocess.Popen(
        command,
        env={**os.environ, "NEARFEED_LOG_LEVEL": "ERROR"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """kill -9 after a while; whether the process was still at work then."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def test_an_import_killed_again_and_again_ends_in_the_same_rows(
    imported: Path, slice_files: dict[str, Path], tmp_path: Path, run_nearfeed: Any
) -> None:
    data_dir, kills = tmp_path / "data", 0
    for kind, path in slice_files.items():
        for seconds in (1.0, 1.5, 2.0, 2.5):
            kills += kill_after(start(data_dir, "import", kind, str(path)), seconds)
        run_nearfeed(data_dir, "import", kind, str(path))
    assert kills > 3
    for kind in slice_files:
        assert content(data_dir, kind) == content(imported, kind), kind


def test_a_load_killed_again_and_again_ends_whole(
    trained: Path, fresh_copy: Callable[[Path], Path], run_nearfeed: Any, run_name: Callable[[Path], str]
) -> None:
    data_dir = fresh_copy(trained)
    run, kills = run_name(data_dir), 0
    for seconds in (1.5, 2.0, 2.5, 3.0):
        kills += kill_after(start(data_dir, "load", run, "--activate"), seconds)
    engine = create_engine(f"sqlite:///{data_dir}/nearfeed.db")
    with engine.connect() as connection:
        active = connection.scalar(select(active_space.c.space))
    if active is None:
        run_nearfeed(data_dir, "load", run, "--activate")
    assert kills > 0
    manifest = open_run(run_url(f"file://{data_dir}/runs", run)).manifest
    with engine.connect() as connection:
        assert connection.scalar(select(active_space.c.space)) == run
        contexts = select(func.count()).where(item_contexts.c.space == run)
        assert connection.scalar(contexts) == manifest.data.items
    engine.dispose()
    listed = run_nearfeed(data_dir, "spaces", "list").stdout
    assert "active" in listed


def test_events_accepted_before_a_kill_are_counted_once_after_it(
    loaded: Path, fresh_copy: Callable[[Path], Path]
) -> None:
    data_dir, port = fresh_copy(loaded), free_port()
    ids = sorted(row[0] for row in content(data_dir, "items"))
    accepted: list[dict[str, str]] = []
    for life in range(3):
        process = start(data_dir, "serve", "--port", str(port))
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        wait_ready(client, process)
        killer = threading.Timer(1.5, process.send_signal, [signal.SIGKILL])
        killer.start()
        accepted += _tell_until_it_dies(client, ids, life)
        process.wait()
        client.close()
    process = start(data_dir, "serve", "--port", str(port))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        wait_ready(client, process)
        assert len(accepted) > 30
        for user_id in {event["user_id"] for event in accepted}:
            told = {event["item_id"] for event in accepted if event["user_id"] == user_id}
            _wait_for_readings(client, user_id, told)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def _tell_until_it_dies(client: httpx.Client, ids: list[str], life: int) -> list[dict[str, str]]:
    """Events of two readers, one at a time; those that were accepted. The last one may be on the log too."""
    accepted = []
    for number, item_id in enumerate(ids[life * 80 : (life + 1) * 80]):
        event = {"user_id": f"life{life}-{number % 2}", "item_id": item_id, "kind": "read"}
        try:
            answer = client.post("/v1/events", json=event)
        except httpx.TransportError:
            break
        assert answer.status_code == 202
        accepted.append(event)
        time.sleep(0.02)
    return accepted


def _wait_for_readings(client: httpx.Client, user_id: str, told: set[str]) -> None:
    give_up = time.monotonic() + 30
    while True:
        readings = client.get(f"/v1/users/{user_id}/vector").json()["readings"]
        found = [reading["item_id"] for reading in readings]
        assert len(found) == len(set(found))
        if told <= set(found):
            assert len(set(found) - told) <= 1
            return
        assert time.monotonic() < give_up, (user_id, told - set(found))
        time.sleep(0.1)
