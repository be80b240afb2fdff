"""What readers see of a running installation."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

SECONDS = 60.0
PAGES = 4
Page = dict[str, Any]


def eventually(holds: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Waits until something holds; the limit is there to end a test that fails."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it did not come to hold"
        time.sleep(0.05)


def feed(client: httpx.Client, user_id: str, **params: Any) -> Page:
    answer = client.get("/v1/feed", params={"user_id": user_id, **params})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def feed_ids(client: httpx.Client, user_id: str) -> list[str]:
    page = feed(client, user_id, limit=100)
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


def like_post_and_take_down(client: httpx.Client, reader: str, seconds: float = SECONDS) -> None:
    """A like changes the reader's feed, a new post comes into it, and goes when it is taken down."""
    page = feed(client, reader, limit=10)
    assert all(item["reason"]["text"].startswith("Because you read ") for item in page["items"])
    before = feed_ids(client, reader)

    liked = page["items"][0]
    told = {"user_id": reader, "item_id": liked["id"], "kind": "like"}
    assert client.post("/v1/events", json=told).status_code == 202
    eventually(lambda: feed_ids(client, reader) not in (before, before[1:]), seconds)
    assert liked["id"] not in feed_ids(client, reader)

    post = {key: liked[key] for key in ("community_id", "title", "tags")} | {"author_id": "newcomer"}
    assert client.put("/v1/items/new-post", json=post).status_code == 200
    eventually(lambda: "new-post" in feed_ids(client, reader), seconds)
    (new,) = [item for item in feed(client, reader, limit=100)["items"] if item["id"] == "new-post"]
    assert (new["source"], new["reason"]["kind"]) == ("new", "new")

    assert client.delete("/v1/items/new-post").status_code == 204
    assert "new-post" not in feed_ids(client, reader)
    assert client.get("/v1/items/new-post").status_code == 404


def join_and_see_own_community_alone(client: httpx.Client, reader: str, seconds: float = SECONDS) -> None:
    """Of two new posts, one reader who has joined one community gets that of it alone, another gets both."""
    shown = feed(client, reader, limit=100)["items"]
    own = shown[0]["community_id"]
    other = next(item["community_id"] for item in shown if item["community_id"] != own)
    for item in shown[:3]:
        for user in ("member", "guest"):
            told = {"user_id": user, "item_id": item["id"], "kind": "read"}
            assert client.post("/v1/events", json=told).status_code == 202
    assert client.put(f"/v1/users/member/communities/{own}").status_code == 204
    for item_id, community in (("of-own", own), ("of-other", other)):
        post = {"community_id": community, "author_id": "newcomer", "title": shown[0]["title"]}
        assert client.put(f"/v1/items/{item_id}", json=post).status_code == 200
    eventually(lambda: {"of-own", "of-other"} <= set(feed_ids(client, "guest")), seconds)
    eventually(lambda: "of-own" in feed_ids(client, "member"), seconds)
    page = feed(client, "member", limit=100)
    assert {item["community_id"] for item in page["items"]} == {own}
    assert feed(client, "member", community_id=other)["items"] == []
    assert client.delete(f"/v1/users/member/communities/{own}").status_code == 204
    assert "of-other" in feed_ids(client, "member")


@dataclass
class Visit:
    """A reader's first page and those that its cursor led to; `begun` and `ended` on the monotonic clock."""

    reader: str
    begun: float
    ended: float = float("inf")
    pages: list[Page] = field(default_factory=list)

    @property
    def space(self) -> str:
        return str(self.pages[0]["space"])


@contextmanager
def visited(client: httpx.Client, readers: Sequence[str], threads: int) -> Iterator[list[Visit]]:
    """Readers who visit again and again, several at a time; raises at the end what befell any of them."""
    visits: list[Visit] = []
    over = threading.Event()

    def visit_all(offset: int) -> None:
        for reader in itertools.islice(itertools.cycle(readers), offset, None):
            if over.is_set():
                return
            visits.append(_visit(client, reader))

    with ThreadPoolExecutor(threads) as pool:
        visitors = [pool.submit(visit_all, number) for number in range(threads)]
        try:
            yield visits
        finally:
            over.set()
    for visitor in visitors:
        visitor.result()


def _visit(client: httpx.Client, reader: str) -> Visit:
    visit, cursor = Visit(reader, time.monotonic()), {}
    while len(visit.pages) < PAGES:
        visit.pages.append(feed(client, reader, limit=10, **cursor))
        if not visit.pages[-1]["next_cursor"]:
            break
        cursor = {"cursor": visit.pages[-1]["next_cursor"]}
    visit.ended = time.monotonic()
    return visit
