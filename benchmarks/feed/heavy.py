"""What users with much of something wait for, and what they cost others."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.feed import asked, folders
from benchmarks.feed.embedded import served_copy
from benchmarks.feed.figures import Figure, figures_of
from benchmarks.feed.heavy_users import NAMES
from benchmarks.feed.load import Load, Request, closed_loop
from benchmarks.feed.measuring import WARM_UP_SECONDS, Run, floors, settle
from benchmarks.feed.processes import Server

CLIENTS = 3


def users(run: Run) -> Iterator[Figure]:
    """Each heavy user alone, and the usual ones; then usual users while three clients ask for others."""
    floored = floors()
    usual = asked.feeds(folders.USERS, run.number)
    with served_copy(run.data) as server:
        closed_loop(server.base, usual, 8, WARM_UP_SECONDS)
        settle(server)
        alone = closed_loop(server.base, usual, 1, run.seconds)
        yield from figures_of("usual users", alone, floored[1])
        for name, number in NAMES.items():
            settle(server)
            load = closed_loop(server.base, asked.feeds([name], run.number), 1, run.seconds)
            label = f"{name} ({number:,})"
            yield from figures_of(label, load, floored[1])
            yield Figure(label, "p50 to usual", load.p50 / alone.p50, "times")
        beside_usual = _beside(server, usual, usual[::-1], run.seconds)
        yield from figures_of("usual users beside 3 usual clients", beside_usual, floored[1])
        beside = _beside(server, usual, asked.feeds(list(NAMES), run.number), run.seconds)
        yield from figures_of("usual users beside 3 heavy clients", beside, floored[1])
        yield Figure(
            "usual users beside 3 heavy clients", "p50 to usual", beside.p50 / beside_usual.p50, "times"
        )


def _beside(server: Server, requests: list[Request], others: list[Request], seconds: float) -> Load:
    """One connection, while three others ask for something else."""
    settle(server)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(closed_loop, server.base, others, CLIENTS, seconds + 2)
        return closed_loop(server.base, requests, 1, seconds)
