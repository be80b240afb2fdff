"""What a user does is in their next feed of the same process, before the consumer has it."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from nearfeed_contracts.event_log import LogUnavailableError
from nearfeed_recommender.app.bootstrap import bootstrap

POSTS = {f"p{number}" for number in range(20)}
EVEN = {f"p{number}" for number in range(0, 20, 2)}


def feed(client: TestClient, **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/feed", params={"user_id": "u", "limit": 100, **params})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ids_of(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


def tell(client: TestClient, kind: str, *items: str, **more: Any) -> int:
    events = [{"user_id": "u", "item_id": item, "kind": kind, **more} for item in items]
    return client.post("/v1/events", json={"events": events}).status_code


@pytest.fixture
def elsewhere(served: Any) -> Iterator[TestClient]:
    """Another process on the same data."""
    service = bootstrap(served.settings, engine=served.engine, log=served.log, store=served.store)
    yield TestClient(service.app, raise_server_exceptions=False)
    service.close()


@pytest.mark.parametrize("known", [True, False])
def test_a_first_read_makes_the_next_feed_personal(served: Any, known: bool) -> None:
    """Also of a user whom the process has not looked at before."""
    if known:
        assert {item["source"] for item in feed(served.client)["items"]} == {"latest"}
    assert tell(served.client, "read", "p4") == 202
    page = feed(served.client)
    assert set(ids_of(page)) == POSTS - {"p4"}
    assert {item["source"] for item in page["items"]} <= {"personal", "new"}
    assert all(item["reason"]["item_id"] == "p4" for item in page["items"])
    served.settle()
    assert ids_of(feed(served.client)) == ids_of(page)


@pytest.mark.parametrize(
    ("kind", "more", "gone"),
    [
        ("read", {}, True),
        ("hide", {}, True),
        ("report", {}, True),
        ("rating", {"value": 1.0}, True),
        ("rating", {"value": 5.0}, True),
        ("unlike", {}, False),
    ],
)
def test_an_event_holds_before_and_after_the_consumer(
    served: Any, elsewhere: TestClient, kind: str, more: dict[str, Any], gone: bool
) -> None:
    tell(served.client, "read", "p1", "p2")
    served.settle()
    feed(served.client), feed(elsewhere)
    assert tell(served.client, kind, "p7", **more) == 202
    before = feed(served.client)
    assert ("p7" in ids_of(before)) == (not gone)
    assert "p7" in ids_of(feed(elsewhere))
    served.settle()
    assert ids_of(feed(elsewhere)) == ids_of(feed(served.client)) == ids_of(before)


def test_a_like_is_taken_back_at_once(served: Any) -> None:
    tell(served.client, "read", "p1")
    served.settle()
    before = ids_of(feed(served.client))
    tell(served.client, "like", "p7")
    liked = ids_of(feed(served.client))
    assert "p7" not in liked
    tell(served.client, "unlike", "p7")
    assert ids_of(feed(served.client)) == before
    served.settle()
    assert ids_of(feed(served.client)) == before


def test_controls_and_memberships_hold_in_every_process_at_once(served: Any, elsewhere: TestClient) -> None:
    tell(served.client, "read", "p1")
    served.settle()
    for client in (served.client, elsewhere):
        assert set(ids_of(feed(client))) == POSTS - {"p1"}
    served.client.put("/v1/users/u/controls/hide/p2")
    served.client.put("/v1/users/u/communities/c0")
    for client in (served.client, elsewhere):
        assert set(ids_of(feed(client))) == EVEN - {"p2"}
    served.client.delete("/v1/users/u/controls/hide/p2")
    for client in (elsewhere, served.client):
        assert set(ids_of(feed(client))) == EVEN
    served.client.delete("/v1/users/u/communities/c0")
    served.client.put("/v1/users/u/controls/block/author")
    for client in (elsewhere, served.client):
        assert ids_of(feed(client)) == []


def test_posts_are_there_and_gone_in_every_process_at_once(served: Any, elsewhere: TestClient) -> None:
    for client in (served.client, elsewhere):
        assert set(ids_of(feed(client))) == POSTS
    served.put_post("p20", "c0")
    served.client.delete("/v1/items/p3")
    for client in (served.client, elsewhere):
        assert set(ids_of(feed(client))) == POSTS - {"p3"} | {"p20"}


def test_a_reset_holds_for_events_that_the_consumer_has_not_seen(served: Any, elsewhere: TestClient) -> None:
    tell(served.client, "read", "p1", "p2")
    feed(served.client)
    assert served.client.post("/v1/users/u/reset").status_code == 204
    for client in (served.client, elsewhere):
        assert {item["source"] for item in feed(client)["items"]} == {"latest"}
    tell(served.client, "read", "p3")
    assert set(ids_of(feed(served.client))) == POSTS - {"p3"}
    served.settle()
    for client in (served.client, elsewhere):
        assert set(ids_of(feed(client))) == POSTS - {"p3"}


def test_an_event_that_was_refused_changes_nothing(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids_of(feed(served.client))

    def refuse(_: object) -> None:
        raise LogUnavailableError("the log is away.")

    monkeypatch.setattr(served.log, "append", refuse)
    assert tell(served.client, "hide", "p2") == 503
    assert ids_of(feed(served.client)) == before
