"""The consumers of a server are a process of their own, which may end at any moment and comes back."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from nearfeed_recommender.users.consumer import GROUP
from nearfeed_standalone.lock import read_owner

PATIENCE_SECONDS = 60
NOW = "2024-01-01T00:00:00Z"


class Server:
    """A served folder, and the process of its consumers."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self.process = process
        self.client = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def consumers(self) -> list[int]:
        """Process ids, by what /proc says of the server's children."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        found = [int(pid) for each in children for pid in each.read_text().split()]
        return [pid for pid in found if b"nearfeed_standalone.consumers" in command_of(pid)]

    def read(self, item_id: str) -> None:
        event = {"user_id": "ann", "item_id": item_id, "kind": "read"}
        assert self.client.post("/v1/events", json=event).status_code == 202

    def consumed(self) -> float:
        """Interactions whose effects are committed, as /metrics says."""
        text = self.client.get("/metrics").text
        pattern = rf'^nearfeed_events_consumed_total\{{group="{GROUP}",type="interaction"\}} (\S+)$'
        found = re.findall(pattern, text, re.MULTILINE)
        assert len(found) <= 1
        return float(found[0]) if found else 0.0


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "nearfeed_standalone", "serve", "--port", "0", "--data-dir", str(folder)]
    process = subprocess.Popen(command, env=os.environ | {"NEARFEED_VECTORS_URL": "memory://"})
    try:
        until(lambda: (owner := read_owner(folder)) and owner.pid == process.pid and owner.address)
        owner = read_owner(folder)
        assert owner is not None
        yield Server(process, str(owner.address))
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_SECONDS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with served(tmp_path / "data") as server:
        assert server.client.put("/v1/communities/c").status_code == 204
        for number in range(3):
            item = {"community_id": "c", "author_id": "a", "title": f"Post {number}", "published_at": NOW}
            assert server.client.put(f"/v1/items/post-{number}", json=item).status_code == 200
        yield server


def test_events_are_taken_in_by_another_process_whose_metrics_are_told(server: Server) -> None:
    server.read("post-0")
    until(lambda: server.consumed() == 1)
    assert len(server.consumers()) == 1
    assert server.process.pid not in server.consumers()


def test_consumers_that_are_killed_come_back_and_lose_nothing(server: Server) -> None:
    server.read("post-0")
    until(lambda: server.consumed() == 1)
    (killed,) = server.consumers()
    os.kill(killed, signal.SIGKILL)
    server.read("post-1")
    until(lambda: server.consumed() == 2)
    assert killed not in server.consumers()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_consumers_end_with_their_server(server: Server, number: signal.Signals) -> None:
    until(server.consumers)
    (consumers,) = server.consumers()
    server.process.send_signal(number)
    server.process.wait(PATIENCE_SECONDS)
    until(lambda: not command_of(consumers))
