"""kill -9 in the middle of import, load and event traffic: nothing lost, nothing twice."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from benchmarks.server import free_port, wait_ready
from sqlalchemy import create_engine, func, select

from nearfeed_backends.opening import open_log
from nearfeed_contracts.events import Event, Item, decode
from nearfeed_contracts.runs import open_run, run_url
from nearfeed_contracts.tables import active_space, interactions, item_contexts, items, memberships

pytestmark = pytest.mark.slow
_BEFORE_KILL = 25
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


def start(data_dir: Path, *arguments: str, **settings: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "nearfeed_standalone", "--data-dir", str(data_dir), *arguments]
    return subprocess.Popen(
        command,
        env={**os.environ, "NEARFEED_LOG_LEVEL": "ERROR", **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def number(data_dir: Path, query: str) -> int:
    """What a query of the folder's database counts; 0 where there is nothing yet to ask."""
    file = data_dir / "nearfeed.db"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as connection:
        try:
            row = connection.execute(query).fetchone()
        except sqlite3.OperationalError:
            return 0
    return int(row[0] or 0) if row else 0


def kill_in_the_middle(
    process: "subprocess.Popen[bytes]", data_dir: Path, query: str, *, above: int, below: int
) -> None:
    """kill -9 as soon as what `query` counts is above a number; it must still be below the other then."""
    give_up = time.monotonic() + 120
    while number(data_dir, query) <= above:
        assert process.poll() is None, f"it ended before {query} was above {above}"
        assert time.monotonic() < give_up, f"{query} has not come above {above}"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert above < number(data_dir, query) < below, query


def records(data_dir: Path, topic: str) -> list[Event]:
    """All events of a topic, those that are there twice included."""
    log = open_log(f"embedded://{data_dir}/log.db")
    subscription = log.subscribe([topic], "test", lambda _: 0)
    found: list[Event] = []
    while messages := subscription.poll(1_000, 0):
        found += [decode(message.value) for message in messages if message.value is not None]
    subscription.close()
    log.close()
    return found


def test_an_import_killed_again_and_again_ends_in_the_same_rows(
    imported: Path, slice_files: dict[str, Path], tmp_path: Path, run_nearfeed: Any
) -> None:
    data_dir = tmp_path / "data"
    batches = {}
    for kind, path in slice_files.items():
        rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        batches[kind] = max(1, rows // 125)
        done = f"SELECT rows_done FROM imports WHERE kind = '{kind}'"
        for share in (0.2, 0.6) if kind == "interactions" else (0.4,):
            process = start(data_dir, "import", kind, str(path), NEARFEED_IMPORT_BATCH=str(batches[kind]))
            kill_in_the_middle(process, data_dir, done, above=int(share * rows), below=rows)
        if kind == "interactions":
            process = start(data_dir, "import", kind, str(path))
            counted = "SELECT count(*) FROM interactions"
            kill_in_the_middle(process, data_dir, counted, above=0, below=rows)
        run_nearfeed(data_dir, "import", kind, str(path))
    for kind in slice_files:
        assert content(data_dir, kind) == content(imported, kind), kind
    _assert_log_holds_all(data_dir, imported, most_twice=2 * batches["interactions"])


def _assert_log_holds_all(data_dir: Path, imported: Path, most_twice: int) -> None:
    """A batch that was on the log when its process was killed is there once more; nothing else is."""
    told, once = records(data_dir, "interactions"), records(imported, "interactions")
    assert {event.event_id for event in told} == {event.event_id for event in once}
    assert len(told) - len(once) <= most_twice
    posts = [(post.item_id, post.title) for post in records(data_dir, "items") if isinstance(post, Item)]
    assert sorted(posts) == sorted((row[0], row[1]) for row in content(imported, "items"))
    joined = [(one.user_id, one.community_id) for one in records(data_dir, "memberships")]  # type: ignore[attr-defined]
    assert sorted(joined) == sorted((row[0], row[1]) for row in content(imported, "memberships"))


def test_a_load_killed_again_and_again_ends_whole(
    trained: Path, fresh_copy: Callable[[Path], Path], run_nearfeed: Any, run_name: Callable[[Path], str]
) -> None:
    data_dir = fresh_copy(trained)
    run = run_name(data_dir)
    manifest = open_run(run_url(f"file://{data_dir}/runs", run)).manifest
    posts, readers = manifest.data.items, number(data_dir, "SELECT count(DISTINCT user_id) FROM interactions")
    contexts, vectors = "SELECT count(*) FROM item_contexts", "SELECT count(*) FROM user_vectors"
    for share in (0.1, 0.6):
        process = start(data_dir, "load", run, "--activate", NEARFEED_LOAD_BATCH="5")
        kill_in_the_middle(process, data_dir, contexts, above=int(share * posts), below=posts)
    process = start(data_dir, "load", run, "--activate")
    kill_in_the_middle(process, data_dir, vectors, above=0, below=readers)
    assert number(data_dir, "SELECT count(*) FROM active_space") == 0
    run_nearfeed(data_dir, "load", run, "--activate")
    engine = create_engine(f"sqlite:///{data_dir}/nearfeed.db")
    with engine.connect() as connection:
        assert connection.scalar(select(active_space.c.space)) == run
        in_space = select(func.count()).where(item_contexts.c.space == run)
        assert connection.scalar(in_space) == posts
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
        accepted += _tell_until_it_dies(client, ids, life, process)
        assert process.wait() == -signal.SIGKILL
        client.close()
    process = start(data_dir, "serve", "--port", str(port))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        wait_ready(client, process)
        assert len(accepted) >= 3 * _BEFORE_KILL
        for user_id in {event["user_id"] for event in accepted}:
            told = {event["item_id"] for event in accepted if event["user_id"] == user_id}
            _wait_for_readings(client, user_id, told)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    logged = [event for event in records(data_dir, "interactions") if event.user_id.startswith("life")]  # type: ignore[attr-defined]
    assert len(accepted) <= len(logged) <= len(accepted) + 3


def _tell_until_it_dies(
    client: httpx.Client, ids: list[str], life: int, process: "subprocess.Popen[bytes]"
) -> list[dict[str, str]]:
    """Events of two readers, one at a time, while the server is killed; those that were accepted.

    The last one may be on the log too.
    """
    accepted: list[dict[str, str]] = []
    for number_, item_id in enumerate(ids[life * 80 : (life + 1) * 80]):
        event = {"user_id": f"life{life}-{number_ % 2}", "item_id": item_id, "kind": "read"}
        try:
            answer = client.post("/v1/events", json=event)
        except httpx.TransportError:
            return accepted
        assert answer.status_code == 202
        accepted.append(event)
        if len(accepted) == _BEFORE_KILL:
            threading.Timer(0.02, process.send_signal, [signal.SIGKILL]).start()
    raise AssertionError("it was not killed while events came in")


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
