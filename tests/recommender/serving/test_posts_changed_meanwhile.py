"""A post that changes while a response is made is shown to those alone who may see what it is then."""

from collections.abc import Callable
from typing import Any

import pytest

from nearfeed_recommender.catalog.writes import ItemDraft, delete_items, put_items
from nearfeed_recommender.serving import response
from nearfeed_runtime.sql import committed


def ids_of(world: Any, path: str, **params: Any) -> list[str]:
    answer = world.client.get(path, params={"limit": 100, **params})
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


@pytest.fixture
def during(served: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], object]], None]:
    """Commits a change of another process right after the first search of a response."""
    # However slow the machine is, the response takes itself for a fast one.
    monkeypatch.setattr(response, "_SOON_MICROS", 3_600_000_000)
    search = served.store.search
    changes: list[Callable[[Any], object]] = []

    def searching(*asked: Any) -> Any:
        found = search(*asked)
        while changes:
            committed(served.engine, changes.pop())
        return found

    monkeypatch.setattr(served.store, "search", searching)
    return changes.append


@pytest.fixture
def reader(served: Any) -> Any:
    """Of the community c0, who mutes a tag and blocks an author; no text has been shown yet."""
    served.put_post("p20", "c0", author_id="foe")
    served.client.put("/v1/users/u/controls/block/foe")
    served.client.put("/v1/users/u/communities/c0")
    served.client.put("/v1/users/u/controls/mute/secret")
    served.client.post("/v1/events", json={"user_id": "u", "item_id": "p0", "kind": "read"})
    served.settle()
    return served


def edited(**content: Any) -> Callable[[Any], object]:
    draft = ItemDraft(
        item_id="p4", **{"community_id": "c0", "author_id": "author", "title": "New", **content}
    )
    return lambda transaction: put_items(transaction, [draft], create_communities=True)


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        (edited(), True),
        (edited(community_id="c9"), False),
        (edited(tags=("secret",)), False),
        (edited(author_id="foe"), False),
        (lambda transaction: delete_items(transaction, ["p4"]), False),
    ],
    ids=["title", "community", "tag", "author", "takedown"],
)
def test_the_feed_has_it_where_what_it_is_now_may_be_seen(
    reader: Any, during: Any, change: Callable[[Any], object], stays: bool
) -> None:
    during(change)
    assert ("p4" in ids_of(reader, "/v1/feed", user_id="u")) == stays


def test_similar_posts_have_it_where_what_it_is_now_may_be_seen(reader: Any, during: Any) -> None:
    during(edited(community_id="c9"))
    assert "p4" not in ids_of(reader, "/v1/items/p0/similar", user_id="u")
