"""Scenarios of one process with embedded back ends, on a copy of a data folder."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import polars as pl

from benchmarks.feed import asked, delays, folders, page
from benchmarks.feed.figures import Figure
from benchmarks.feed.measuring import Run, at_rest, at_start, closed_loops, floors
from benchmarks.feed.open_loop import rising
from benchmarks.feed.processes import Server, started
from benchmarks.server import free_port, nearfeed


@contextmanager
def served_copy(data: Path) -> Iterator[Server]:
    """Serves a copy, so that the folder is the same for each run."""
    with copied(data) as folder, served(folder) as server:
        yield server


@contextmanager
def copied(data: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nearfeed-bench-") as name:
        folder = Path(name, "data")
        shutil.copytree(data, folder)
        yield folder


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    port = free_port()
    with started(nearfeed("serve", "--port", str(port), "--data-dir", str(folder)), port) as server:
        yield server


def users_of(data: Path) -> list[str]:
    """Who has read in the demo's folder."""
    table = pl.read_parquet(data / "demo" / "interactions.parquet", columns=["user_id"])
    return sorted(table["user_id"].unique().to_list())


def feed(run: Run, users: Sequence[str]) -> Iterator[Figure]:
    """Start, feeds in closed loops, what the stages cost, rates up to collapse, memory, and rest."""
    floored = floors()
    requests = asked.feeds(users, run.number)
    with served_copy(run.data) as server:
        yield from at_start(server)
        held = 0.0
        for figure in closed_loops(server, requests, floored, run.seconds):
            held = max(held, figure.value) if figure.measure == "rate" else held
            yield figure
        yield from rising(server, requests, held, run.seconds)
        yield from at_rest(server)


def similar(run: Run, users: Sequence[str]) -> Iterator[Figure]:
    """The posts closest to a post."""
    floored = floors()
    with served_copy(run.data) as server:
        requests = asked.similar(asked.posts_of(server.base, users), run.number)
        yield from closed_loops(server, requests, floored, run.seconds)


def events(run: Run, users: Sequence[str]) -> Iterator[Figure]:
    """One event a request."""
    floored = floors()
    with served_copy(run.data) as server:
        requests = asked.events(users, asked.posts_of(server.base, users), run.number)
        yield from closed_loops(server, requests, floored, run.seconds)


def pages(run: Run, users: Sequence[str]) -> Iterator[Figure]:
    """Pages of sections, with the models that they need."""
    floored = floors()
    with copied(run.data) as folder:
        for model in page.MODELS:
            folders.command(folder, "train", "--model", model, "--force")
        with served(folder) as server:
            folders.command(folder, *page.APPLY)
            yield from page.loads(server, users, floored, run)


def followed(run: Run, users: Sequence[str]) -> Iterator[Figure]:
    """How soon feeds follow events and posts."""
    with served_copy(run.data) as server, httpx.Client(base_url=server.base, timeout=60) as client:
        yield from delays.events("event to feed, same process", client, client, users)
        yield from delays.posts(client)
