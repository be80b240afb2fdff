"""A server that holds the folder carries out what is typed beside it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from nearfeed_contracts.errors import NearfeedError
from nearfeed_runtime.operations import Listed, Progress, Said
from nearfeed_standalone.lock import OWNER, Owner, read_owner
from nearfeed_standalone.running import ask, make_runner

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server of the folder `data`, and waits until it takes commands."""
    started: list[subprocess.Popen[str]] = []

    def run() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "nearfeed_standalone", "serve", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--data-dir", str(tmp_path / "data")],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"NEARFEED_VECTORS_URL": "memory://"},
        )
        started.append(process)
        while not _answers(read_owner(tmp_path / "data"), process.pid):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _answers(owner: Owner | None, pid: int) -> bool:
    return owner is not None and owner.pid == pid and owner.address is not None


def owner_in(tmp_path: Path) -> Owner:
    owner = read_owner(tmp_path / "data")
    assert owner is not None
    return owner


def test_commands_beside_a_server(start: Start, tmp_path: Path, written: Any) -> None:
    process = start()
    owner = owner_in(tmp_path)
    assert owner.pid == process.pid
    run = make_runner(tmp_path / "data")

    item = {
        "item_id": "a",
        "community_id": "c",
        "author_id": "ann",
        "title": "A",
        "published_at": 1_700_000_000,
    }
    items = written("items.csv", [item | {"item_id": f"post-{number}"} for number in range(30)])
    steps = list(run("import", {"kind": "items", "path": str(items)}))
    assert Said("items.csv: 30 items taken in.") in steps
    assert isinstance(steps[-1], Progress)
    assert httpx.get(f"{owner.address}/v1/items/post-7", trust_env=False).json()["title"] == "A"
    assert isinstance(next(run("spaces.list", {})), Listed)
    assert Said("Version 1 holds. To go back: config rollback 0.") in run("config.apply", a_change())
    held = httpx.get(f"{owner.address}/v1/admin/config", trust_env=False).json()
    assert (held["version"], held["document"]["feed"]) == (1, "latest")

    with pytest.raises(NearfeedError, match=r"none\.csv: cannot be read"):
        list(run("import", {"kind": "items", "path": "none.csv"}))
    with pytest.raises(NearfeedError, match="token of the data folder"):
        list(ask(Owner(owner.pid, "wrong", owner.address), "spaces.list", {}))
    _second_server_is_refused(tmp_path, owner)

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    assert not (tmp_path / "data" / OWNER).exists()


def a_change() -> dict[str, Any]:
    """Another feed than that of the default."""
    provider = {"sources": {"latest": {"type": "latest"}}}
    text = orjson.dumps({"feed": "latest", "providers": {"latest": provider}}).decode()
    return {"text": text, "author": "Ann", "reason": "a test"}


def _second_server_is_refused(tmp_path: Path, owner: Owner) -> None:
    command = [sys.executable, "-m", "nearfeed_standalone", "serve", "--data-dir", str(tmp_path / "data")]
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 2
    assert f"in use by process {owner.pid}" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1


def test_a_killed_server_is_followed_by_another(start: Start, tmp_path: Path) -> None:
    first = start()
    stale = owner_in(tmp_path)
    first.kill()
    first.communicate()
    with pytest.raises(NearfeedError, match="broke off"):
        list(ask(stale, "spaces.list", {}))
    second = start()
    assert owner_in(tmp_path).pid == second.pid != first.pid
    assert isinstance(next(make_runner(tmp_path / "data")("spaces.list", {})), Listed)


def test_a_port_in_use_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        command = [sys.executable, "-m", "nearfeed_standalone", "serve", "--port", str(port)]
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=os.environ | {"NEARFEED_DATA_DIR": str(tmp_path / "data")},
        )
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "data" / "nearfeed.db").exists()


def test_an_outer_address_still_takes_commands_by_loopback(tmp_path: Path) -> None:
    from nearfeed_standalone.serve import reachable_by_loopback, url_of

    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        assert reachable_by_loopback(listener)
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
