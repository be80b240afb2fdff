"""What every scenario does: the floor, loads in a closed loop, and a server at rest."""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.feed import floor, stages
from benchmarks.feed.figures import Figure, figures_of
from benchmarks.feed.load import Load, Request, closed_loop
from benchmarks.feed.processes import Others, Server, cpu_seconds, started
from benchmarks.server import free_port

CONNECTIONS = {1: "sequential", 8: "8 connections", 32: "32 connections"}
FLOOR_SECONDS = 3
WARM_UP_SECONDS = 5
SETTLE_SECONDS = 20
IDLE_SECONDS = 20
Floors = Mapping[int, Load]


@dataclass(frozen=True)
class Run:
    """One of several runs of a scenario: its number, where data is made, and the seconds of a load."""

    number: int
    data: Path
    seconds: float


@contextmanager
def floor_server() -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="nearfeed-bench-") as folder:
        command = [sys.executable, "-m", floor.__name__, str(port), folder]
        with started(command, port) as server:
            yield server


def floors(variant: str = "threads", seconds: float = FLOOR_SECONDS) -> Floors:
    """What the floor gives to each number of connections."""
    requests = [Request(f"/{variant}?user_id={number}&limit=20") for number in range(floor.USERS)]
    with floor_server() as server:
        closed_loop(server.base, requests, 2, 1)
        return {
            connections: closed_loop(server.base, requests, connections, seconds)
            for connections in CONNECTIONS
        }


def closed_loops(
    server: Server, requests: Sequence[Request], floored: Floors, seconds: float
) -> Iterator[Figure]:
    """Each number of connections, beside the floor's, and what the stages cost one connection."""
    closed_loop(server.base, requests, 8, WARM_UP_SECONDS)
    for connections, name in CONNECTIONS.items():
        settle(server)
        others, before = Others(), stages.totals(server.base)
        load = closed_loop(server.base, requests, connections, seconds)
        yield from figures_of(name, load, floored.get(connections), others.cores())
        if connections == 1:
            yield from stages.costs(before, stages.totals(server.base))


def settle(server: Server) -> None:
    """Waits until requests that nobody waits for any more are done, for a while at most."""
    give_up = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < give_up:
        before = cpu_seconds(server.pid)
        time.sleep(0.5)
        if cpu_seconds(server.pid) - before < 0.1:
            return


def at_start(server: Server) -> Iterator[Figure]:
    yield Figure("start", "to /readyz", server.start_seconds, "s")
    yield Figure("start", "memory", server.memory_mib(), "MiB")


def at_rest(server: Server) -> Iterator[Figure]:
    """Memory after load, and what the processor does when nothing is asked."""
    yield Figure("after load", "memory", server.memory_mib(), "MiB")
    settle(server)
    begun, before = time.perf_counter(), cpu_seconds(server.pid)
    time.sleep(IDLE_SECONDS)
    share = (cpu_seconds(server.pid) - before) / (time.perf_counter() - begun)
    yield Figure("idle", "of a core", 100 * share, "%")
