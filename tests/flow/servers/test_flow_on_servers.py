"""The main path over real servers: import, train, load, feed, react, with every service its own process."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow]
SECONDS = 60.0


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until something holds; the limit is there to end a test that fails."""
    give_up = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < give_up, "it did not come to hold"
        time.sleep(0.05)


def feed(client: httpx.Client, user_id: str, **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/feed", params={"user_id": user_id, "limit": 100, **params})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def feed_ids(client: httpx.Client, user_id: str) -> list[str]:
    page = feed(client, user_id)
    assert not page["degraded"]
    return [item["id"] for item in page["items"]]


def readers_of(client: httpx.Client, number: int) -> list[str]:
    """Readers who have a personal feed."""
    found = []
    for user in map(str, range(1, 700)):
        items = feed(client, user, limit=1)["items"]
        if items and items[0]["source"] == "personal":
            found.append(user)
        if len(found) == number:
            return found
    raise AssertionError("too few have a personal feed")


def test_from_a_like_and_a_post_to_the_feed_and_a_takedown(deployment: Any) -> None:
    client = deployment.client
    (reader,) = readers_of(client, 1)
    page = feed(client, reader, limit=10)
    assert page["space"] == deployment.space
    assert all(item["reason"]["text"].startswith("Because you read ") for item in page["items"])
    before = feed_ids(client, reader)

    liked = page["items"][0]
    told = {"user_id": reader, "item_id": liked["id"], "kind": "like"}
    assert client.post("/v1/events", json=told).status_code == 202
    eventually(lambda: feed_ids(client, reader) not in (before, before[1:]))
    assert liked["id"] not in feed_ids(client, reader)

    post = {key: liked[key] for key in ("community_id", "title", "tags")} | {"author_id": "newcomer"}
    assert client.put("/v1/items/new-post", json=post).status_code == 200
    eventually(lambda: "new-post" in feed_ids(client, reader))
    (new,) = [item for item in feed(client, reader)["items"] if item["id"] == "new-post"]
    assert (new["source"], new["reason"]["kind"]) == ("new", "new")

    assert client.delete("/v1/items/new-post").status_code == 204
    assert "new-post" not in feed_ids(client, reader)
    assert client.get("/v1/items/new-post").status_code == 404
    eventually(lambda: client.get(f"/v1/items/{liked['id']}/similar").status_code == 200)
