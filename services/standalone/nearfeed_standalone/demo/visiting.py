"""A simulated reader's visit over HTTP: a page of the feed, what they do with it, the next page."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from nearfeed_standalone.demo.tastes import Tastes

Floats = NDArray[np.float64]
KINDS = ("click", "read", "like")
_FADES = 0.15  # k of the examination 1 / (1 + k · position)
_BY_CHANCE = 0.02  # clicks of a post that is looked at, whatever it is
_BY_TASTE = 0.4  # more of them where it is to the reader's taste
_READ = 0.8  # of what is clicked
_GOES_ON = 0.3
_GOES_ON_PLEASED = 0.7


class Act(NamedTuple):
    """Something done with a post."""

    item_id: str
    kind: str


def examination(positions: Floats) -> Floats:
    """The chance that a post which is on the screen is looked at, by its position in the answer, from 0."""
    return np.asarray(1 / (1 + _FADES * positions))


def click_chance(taste: Floats) -> Floats:
    """The chance that a post which is looked at is clicked."""
    return np.asarray(_BY_CHANCE + _BY_TASTE * taste)


def acts_on(item_ids: Sequence[str], taste: Floats, first: int, draws: Floats) -> list[Act]:
    """Every post is seen; some are clicked, some of these read, and some of these liked.

    `taste` is that for each post, `first` the position of the first, `draws` (posts, 3) are uniform.
    """
    examined = examination(first + np.arange(len(item_ids), dtype=np.float64))
    chances = np.column_stack([examined * click_chance(taste), np.full(len(taste), _READ), taste])
    done = np.logical_and.accumulate(draws < chances, axis=1)
    acts = [Act(item, "impression") for item in item_ids]
    return acts + [
        Act(item, kind)
        for item, row in zip(item_ids, done, strict=True)
        for kind, is_done in zip(KINDS, row, strict=True)
        if is_done
    ]


def goes_on(acts: Sequence[Act], draw: float) -> bool:
    """Whether the next page is asked for: rather where this one had something to click."""
    pleased = any(act.kind == "click" for act in acts)
    return draw < (_GOES_ON_PLEASED if pleased else _GOES_ON)


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
