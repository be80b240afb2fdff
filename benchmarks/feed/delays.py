"""How soon a feed follows an event and a new post."""

import time
from collections.abc import Iterator, Sequence

import httpx
import numpy as np

from benchmarks.feed.figures import Figure
from benchmarks.measures import first_post, post_to_feed

TIMES = 20
_PATIENCE_SECONDS = 30


def events(name: str, told: httpx.Client, asked: httpx.Client, users: Sequence[str]) -> Iterator[Figure]:
    """From the answer to a reading until the beginning of the first feed that shows the post no more.

    Zero says that the very next feed had it. `told` takes the events, `asked` gives the feeds.
    """
    delays = [_delay(told, asked, user) for user in users[:TIMES]]
    for percent in (50, 95):
        yield Figure(name, f"p{percent}", float(np.percentile(delays, percent)) * 1_000, "ms")
    yield Figure(name, "in the next feed", 100 * float(np.mean(np.equal(delays, 0))), "%")


def posts(client: httpx.Client) -> Iterator[Figure]:
    """From the answer to a new post until a feed has it. The first post waits for the text model."""
    first_post(client)
    for name, value, unit in post_to_feed(client, TIMES):
        load, _, measure = name.partition(": ")
        yield Figure(load, measure, value, unit)


def _delay(told: httpx.Client, asked: httpx.Client, user: str) -> float:
    top = _shown(asked, user)[0]
    event = {"user_id": user, "item_id": top, "kind": "read"}
    told.post("/v1/events", json=event).raise_for_status()
    answered = time.perf_counter()
    begun = answered
    first = True
    while top in _shown(asked, user):
        first = False
        begun = time.perf_counter()
        if begun - answered > _PATIENCE_SECONDS:
            raise RuntimeError(f"a feed still shows a post {_PATIENCE_SECONDS} s after it was read")
    return 0.0 if first else begun - answered


def _shown(client: httpx.Client, user: str) -> list[str]:
    """The posts of a feed that is not degraded. Raises RuntimeError."""
    give_up = time.perf_counter() + _PATIENCE_SECONDS
    while time.perf_counter() < give_up:
        page = client.get("/v1/feed", params={"user_id": user, "limit": 20}).raise_for_status().json()
        if not page["degraded"] and page["items"]:
            return [item["id"] for item in page["items"]]
    raise RuntimeError(f"no feed of user {user} within {_PATIENCE_SECONDS} s that is not degraded")
