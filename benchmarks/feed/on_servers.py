"""Scenarios on Milvus, MariaDB and Kafka of `make servers`: a process a service, with the demo's data."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.backends import films_of, port
from benchmarks.deployment import api, deployed
from benchmarks.feed import asked, delays, page
from benchmarks.feed.embedded import users_of
from benchmarks.feed.figures import Figure
from benchmarks.feed.measuring import Run, at_rest, closed_loops, floors
from benchmarks.feed.open_loop import rising
from benchmarks.feed.processes import Server, child
from benchmarks.installation import Installation, fresh_installation

_USERS = 1_000  # users up to this number are imported
_API = ("nearfeed-recommender", "api")


@dataclass(frozen=True)
class Deployed:
    """A deployment: its API as a server, and a client for that."""

    installation: Installation
    server: Server
    client: httpx.Client


def feed(run: Run) -> Iterator[Figure]:
    """Feeds in closed loops and at rising rates; delays in the same process and in another; memory, rest."""
    users, floored = users_of(run.data), floors()
    requests = asked.feeds(users, run.number)
    with on_demo_data(run.data) as found:
        held = 0.0
        for figure in closed_loops(found.server, requests, floored, run.seconds):
            held = max(held, figure.value) if figure.measure == "rate" else held
            yield figure
        yield from rising(found.server, requests, held, run.seconds)
        yield from at_rest(found.server)
        begun = time.perf_counter()
        with api(found.installation) as other:
            yield Figure("start", "to /readyz", time.perf_counter() - begun, "s")
            yield from delays.events("event to feed, same process", found.client, found.client, users)
            yield from delays.events(
                "event to feed, other process", found.client, other, users[delays.TIMES :]
            )
        yield from delays.posts(found.client)


def pages(run: Run) -> Iterator[Figure]:
    """Pages of sections."""
    floored = floors()
    with on_demo_data(run.data) as found:
        for model in page.MODELS:
            found.installation.run("nearfeed-embedder", "train", "--model", model, "--force")
        found.installation.run("nearfeed-recommender", *page.APPLY)
        yield from page.loads(found.server, users_of(run.data), floored, run)


@contextmanager
def on_demo_data(data: Path) -> Iterator[Deployed]:
    """An installation of its own on the servers, with the demo's posts, users and run."""
    run = max((data / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime)
    with tempfile.TemporaryDirectory(prefix="nearfeed-bench-") as name:
        folder = Path(name)
        files = films_of(folder, _USERS)
        with fresh_installation(
            folder / "installation",
            vectors_url=f"milvus://127.0.0.1:{port('milvus')}",
            log_url=f"kafka://127.0.0.1:{port('kafka')}?partitions=4",
            database_port=port("mariadb"),
            runs_url=(folder / "runs").as_uri(),
        ) as installation:
            for kind, path in files.items():
                installation.run("nearfeed", "import", kind, str(path))
            with deployed(installation) as client:
                installation.run("nearfeed-indexer", "load", str(run.absolute()), "--activate")
                server = Server(str(client.base_url).rstrip("/"), child(os.getpid(), _API), 0.0)
                yield Deployed(installation, server, client)
