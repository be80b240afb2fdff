"""The main path with real processes, real models and real data: import, train, load, feed, react."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmarks.server import served

pytestmark = pytest.mark.slow
SECONDS = 30.0


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until something holds; the limit is there to end a test that fails."""
    give_up = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < give_up, "it did not come to hold"
        time.sleep(0.05)


def feed_ids(client: httpx.Client, user_id: str, **params: Any) -> list[str]:
    page = client.get("/v1/feed", params={"user_id": user_id, "limit": 100, **params}).json()
    assert not page["degraded"]
    return [item["id"] for item in page["items"]]


def reader_of(client: httpx.Client) -> str:
    """A reader who has a personal feed."""
    for number in range(1, 700):
        page = client.get("/v1/feed", params={"user_id": str(number), "limit": 1}).json()
        if page["items"] and page["items"][0]["source"] == "personal":
            return str(number)
    raise AssertionError("nobody has a personal feed")


def test_from_a_like_and_a_post_to_the_feed_and_a_takedown(
    loaded: Path, fresh_copy: Callable[[Path], Path]
) -> None:
    with served(fresh_copy(loaded)) as client:
        reader = reader_of(client)
        page = client.get("/v1/feed", params={"user_id": reader, "limit": 10}).json()
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
        shown = client.get("/v1/feed", params={"user_id": reader, "limit": 100}).json()["items"]
        (new,) = [item for item in shown if item["id"] == "new-post"]
        assert (new["source"], new["reason"]["kind"]) == ("new", "new")

        assert client.delete("/v1/items/new-post").status_code == 204
        assert "new-post" not in feed_ids(client, reader)
        assert client.get("/v1/items/new-post").status_code == 404


def test_commands_reach_the_serving_process(
    loaded: Path, fresh_copy: Callable[[Path], Path], run_nearfeed: Any, run_name: Callable[[Path], str]
) -> None:
    data_dir = fresh_copy(loaded)
    with served(data_dir) as client:
        listed = run_nearfeed(data_dir, "spaces", "list")
        assert "active" in listed.stdout
        refused = run_nearfeed(data_dir, "spaces", "drop", run_name(data_dir), check=False)
        assert refused.returncode == 2
        assert "Traceback" not in refused.stderr
        assert client.get("/readyz").json()["space"] == run_name(data_dir)
