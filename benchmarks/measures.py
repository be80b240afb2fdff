"""The figures of the main path, each as rows of (measure, value, unit)."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np

Row = tuple[str, float, str]
FEED_REQUESTS = 300
CLIENTS = 8
DELAYS = 20
READERS = 400


def feed_latency(client: httpx.Client, requests: int = FEED_REQUESTS) -> Iterator[Row]:
    """First pages of 20 posts, one after the other, then by 8 clients at once."""
    readers = [str(1 + number % READERS) for number in range(requests)]
    for reader in readers[:20]:
        _timed(client, reader)
    yield from _latency("feed sequential", [_timed(client, reader) for reader in readers])
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda reader: _timed(client, reader), readers))
    seconds = time.perf_counter() - started
    yield from _latency(f"feed with {CLIENTS} clients", answers)
    yield f"feed with {CLIENTS} clients: rate", requests / seconds, "1/s"


def event_to_feed(client: httpx.Client, times: int = DELAYS) -> Iterator[Row]:
    """From the answer to an event until a feed no longer shows the post that was read."""
    delays = []
    for number in range(times):
        reader = str(1 + number)
        top = _best(client, reader)["id"]
        told = {"user_id": reader, "item_id": top, "kind": "like"}
        client.post("/v1/events", json=told).raise_for_status()
        delays.append(_until(lambda reader=reader, top=top: top not in _shown(client, reader, {top})))
    yield from _percentiles("event to feed", delays)


def post_to_feed(client: httpx.Client, times: int = DELAYS) -> Iterator[Row]:
    """From the answer to a new post until a reader of its community has it in their feed."""
    delays = [_post(client, str(1 + number), f"bench-{number}") for number in range(times)]
    yield from _percentiles("post to feed", delays)


def first_post(client: httpx.Client) -> None:
    """Returns when a new post has come to a feed, which at first takes the time to open the text model."""
    _post(client, "1", "bench-first", limit=180)


def _post(client: httpx.Client, reader: str, item: str, limit: float = 30) -> float:
    """Seconds until a reader has a new post that is like the best of their feed."""
    liked = _best(client, reader)
    content = {key: liked[key] for key in ("community_id", "title", "tags", "body")}
    client.put(f"/v1/items/{item}", json={**content, "author_id": "bench"}).raise_for_status()
    return _until(lambda: item in _shown(client, reader, set()), limit)


def _timed(client: httpx.Client, reader: str) -> tuple[float, bool]:
    """Seconds, and whether the answer was degraded."""
    started = time.perf_counter()
    answer = client.get("/v1/feed", params={"user_id": reader, "limit": 20})
    seconds = time.perf_counter() - started
    return seconds, answer.raise_for_status().json()["degraded"]


def _latency(name: str, answers: Sequence[tuple[float, bool]]) -> Iterator[Row]:
    """Of personal feeds; those that were degraded, for the store missed its deadline, are counted."""
    personal = [seconds for seconds, degraded in answers if not degraded]
    if personal:
        yield from _percentiles(name, personal)
    yield f"{name}: degraded", 100 * (1 - len(personal) / len(answers)), "%"


def _best(client: httpx.Client, reader: str) -> dict[str, Any]:
    """The first post of a personal feed."""
    found: list[dict[str, Any]] = []

    def is_personal() -> bool:
        page = client.get("/v1/feed", params={"user_id": reader, "limit": 1}).raise_for_status().json()
        found[:] = page["items"]
        return not page["degraded"]

    _until(is_personal)
    return found[0]


def _shown(client: httpx.Client, reader: str, otherwise: set[str]) -> set[str]:
    """The posts of a personal feed; `otherwise` where it is degraded, which is no answer."""
    page = client.get("/v1/feed", params={"user_id": reader, "limit": 100}).raise_for_status().json()
    return otherwise if page["degraded"] else {item["id"] for item in page["items"]}


def _until(holds: Callable[[], bool], limit: float = 30.0) -> float:
    started = time.perf_counter()
    while not holds():
        if time.perf_counter() - started > limit:
            raise RuntimeError(f"nothing changed within {limit:.0f} s")
        threading.Event().wait(0.005)
    return time.perf_counter() - started


def _percentiles(name: str, seconds: list[float]) -> Iterator[Row]:
    for percent in (50, 95, 99):
        yield f"{name}: p{percent}", float(np.percentile(seconds, percent)) * 1_000, "ms"
