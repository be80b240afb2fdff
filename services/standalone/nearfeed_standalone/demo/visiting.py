"""A simulated reader's visit over HTTP: a page of the feed, what they do with it, the next page."""

from collections import Counter
from typing import Any

import httpx
import numpy as np

from nearfeed_standalone.demo.acting import Act, acts_on, goes_on
from nearfeed_standalone.demo.tastes import Tastes

POSTS_OF_A_PAGE = 10
MOST_PAGES = 5


def visit(client: httpx.Client, tastes: Tastes, number: int, draw: np.random.Generator) -> Counter[str]:
    """What reader `number` did, by kind. Raises httpx.HTTPError."""
    reader, cursor, done = tastes.readers[number], None, Counter[str]()
    for page in range(MOST_PAGES):
        feed = _page(client, reader, cursor)
        items = [item["id"] for item in feed["items"]]
        draws = draw.random((len(items), 3))
        acts = acts_on(items, tastes.of(number, items), page * POSTS_OF_A_PAGE, draws)
        _send_events(client, reader, feed["request_id"], acts)
        done.update(act.kind for act in acts)
        cursor = feed["next_cursor"]
        if cursor is None or not goes_on(acts, draw.random()):
            break
    return done


def _page(client: httpx.Client, reader: str, cursor: str | None) -> dict[str, Any]:
    asked: dict[str, str | int] = {"user_id": reader, "limit": POSTS_OF_A_PAGE}
    answer = client.get("/v1/feed", params=asked if cursor is None else {**asked, "cursor": cursor})
    answer.raise_for_status()
    return dict(answer.json())


def _send_events(client: httpx.Client, reader: str, request_id: str, acts: list[Act]) -> None:
    if acts:
        told = [{"user_id": reader, "request_id": request_id, **act._asdict()} for act in acts]
        client.post("/v1/events", json={"events": told}).raise_for_status()
