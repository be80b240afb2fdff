"""What is asked for: requests of different users and posts, in an order that a seed decides."""

import json
from collections.abc import Sequence
from urllib.parse import quote, urlencode

import httpx
import numpy as np

from benchmarks.feed.load import Request

LIMIT = 20
_FEEDS_FOR_POSTS = 40
_EVENTS = 20_000


def feeds(users: Sequence[str], seed: int) -> list[Request]:
    """The first page of each user."""
    return [
        Request(f"/v1/feed?{urlencode({'user_id': user, 'limit': LIMIT})}") for user in shuffled(users, seed)
    ]


def pages(users: Sequence[str], seed: int, page: str = "bench") -> list[Request]:
    """A page of sections for each user."""
    return [Request(f"/v1/pages/{page}?{urlencode({'user_id': user})}") for user in shuffled(users, seed)]


def similar(posts: Sequence[str], seed: int) -> list[Request]:
    return [
        Request(f"/v1/items/{quote(post, safe='')}/similar?limit={LIMIT}") for post in shuffled(posts, seed)
    ]


def events(users: Sequence[str], posts: Sequence[str], seed: int) -> list[Request]:
    """Readings of users and posts by chance, one event a request."""
    generator = np.random.default_rng(seed)
    chosen = zip(
        generator.choice(np.array(users), _EVENTS).tolist(),
        generator.choice(np.array(posts), _EVENTS).tolist(),
        strict=True,
    )
    return [
        Request("/v1/events", "POST", json.dumps({"user_id": user, "item_id": post, "kind": "read"}))
        for user, post in chosen
    ]


def posts_of(base: str, users: Sequence[str]) -> list[str]:
    """Posts that the feeds of some users show."""
    found: dict[str, None] = {}
    with httpx.Client(base_url=base, timeout=60) as client:
        for user in users[:: max(1, len(users) // _FEEDS_FOR_POSTS)]:
            answer = client.get("/v1/feed", params={"user_id": user, "limit": 100}).raise_for_status()
            found.update(dict.fromkeys(item["id"] for item in answer.json()["items"]))
    return list(found)


def shuffled(values: Sequence[str], seed: int) -> list[str]:
    return [values[place] for place in np.random.default_rng(seed).permutation(len(values))]
