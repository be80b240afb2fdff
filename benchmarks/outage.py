"""What a feed does while its vector server is gone, and how soon it is personal again."""

import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import numpy as np

from benchmarks.deployment import api
from benchmarks.installation import Installation
from benchmarks.measures import READERS, Row
from benchmarks.proxy import Proxy, proxied

_PATIENCE_SECONDS = 120.0
OUTAGES = {"refuses": Proxy.refuse, "is silent": Proxy.be_silent}


def outages(installation: Installation, requests: int) -> Iterator[Row]:
    """An API of its own that reaches the vector server through a proxy, which fails in each way."""
    url = urlsplit(installation.vectors_url)
    with proxied(int(url.port or 0)) as proxy:
        through = url._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
        with api(replace(installation, vectors_url=through)) as client:
            for way, fail in OUTAGES.items():
                _until_personal(client)
                fail(proxy)
                yield from _degraded(client, f"feed while the store {way}", requests)
                proxy.pass_on()
                yield f"feed after the store {way}: personal again", _until_personal(client), "s"


def _degraded(client: httpx.Client, name: str, requests: int) -> Iterator[Row]:
    """The first answers after the end of the store, one after the other. Raises RuntimeError."""
    seconds = []
    for number in range(requests):
        started = time.perf_counter()
        answer = client.get("/v1/feed", params={"user_id": str(1 + number % READERS), "limit": 20})
        seconds.append(time.perf_counter() - started)
        if not answer.raise_for_status().json()["degraded"]:
            raise RuntimeError("a feed without its store must be degraded")
    for told, percent in (("p50", 50), ("p95", 95), ("max", 100)):
        yield f"{name}: {told}", float(np.percentile(seconds, percent)) * 1_000, "ms"


def _until_personal(client: httpx.Client) -> float:
    started = time.perf_counter()
    while client.get("/v1/feed", params={"user_id": "1"}).json()["degraded"]:
        if time.perf_counter() - started > _PATIENCE_SECONDS:
            raise RuntimeError("the feed has not recovered")
        time.sleep(0.02)
    return time.perf_counter() - started
