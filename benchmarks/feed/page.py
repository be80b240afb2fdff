"""Pages of three sections, each of five sources (benchmarks/pages.yaml)."""

from collections.abc import Iterator, Sequence

import httpx

from benchmarks.feed import asked
from benchmarks.feed.figures import Figure
from benchmarks.feed.measuring import Floors, Run, closed_loops, settle
from benchmarks.feed.open_loop import open_loop
from benchmarks.feed.processes import Server
from benchmarks.pages import CONFIG, wait_until_whole

MODELS = ("item-knn", "random-walk")
APPLY = ("config", "apply", str(CONFIG), "--reason", "a benchmark")
RATES = (10, 20, 50, 100, 200)
_COLLAPSED_MS = 1_000


def loads(server: Server, users: Sequence[str], floored: Floors, run: Run) -> Iterator[Figure]:
    """Closed loops, then rates until the slowest of a hundred waits for a second."""
    with httpx.Client(base_url=server.base, timeout=60) as client:
        wait_until_whole(client, user=users[0])
    requests = asked.pages(users, run.number)
    yield from closed_loops(server, requests, floored, run.seconds)
    for rate in RATES:
        settle(server)
        load = open_loop(server.base, requests, rate, run.seconds, whole=True)
        name = f"{rate} pages a second"
        yield Figure(name, "good", load.rate, "1/s")
        for measure in ("p50", "p99", "slowest"):
            yield Figure(name, measure, getattr(load, measure), "ms")
        for kind in ("degraded", "refused", "failed"):
            yield Figure(name, kind, load.share(getattr(load, kind)), "%")
        if load.p99 > _COLLAPSED_MS:
            break
