"""The API's manners: every bad input gets a status, a field and one sentence; nothing is half written."""

from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from nearfeed_contracts.event_log import LogUnavailableError
from nearfeed_contracts.tables import items, outbox
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_runtime.sql import read_connection

GOOD = {"user_id": "u", "item_id": "p1", "kind": "like"}
AHEAD = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
POST = {"community_id": "c0", "author_id": "a", "title": "A title"}


def problem_of(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert "Traceback" not in answer.text
    return answer.status_code, body["errors"][0]["field"] if body["errors"] else ""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({**GOOD, "item_id": "nobody"}, (404, "item_id")),
        ({**GOOD, "kind": "kick"}, (422, "kind")),
        ({**GOOD, "user_id": "a b"}, (422, "user_id")),
        ({**GOOD, "user_id": ""}, (422, "user_id")),
        ({**GOOD, "user_id": "x" * 129}, (422, "user_id")),
        ({**GOOD, "user_id": 7}, (422, "user_id")),
        ({"user_id": "u", "kind": "like"}, (422, "item_id")),
        ({**GOOD, "occurred_at": AHEAD}, (422, "occurred_at")),
        ({**GOOD, "occurred_at": "2020-01-01T00:00:00"}, (422, "occurred_at")),
        ({**GOOD, "occurred_at": "yesterday"}, (422, "occurred_at")),
        ({**GOOD, "occurred_at": "0001-01-01T00:00:00+14:00"}, (422, "occurred_at")),
        ({**GOOD, "value": 3}, (422, "value")),
        ({**GOOD, "kind": "rating"}, (422, "value")),
        ({**GOOD, "kind": "rating", "value": 6}, (422, "value")),
        ({**GOOD, "kind": "rating", "value": "4"}, (422, "value")),
        ({**GOOD, "kind": "rating", "value": True}, (422, "value")),
        ({**GOOD, "occurred_at": 5}, (422, "occurred_at")),
        ({**GOOD, "occurred_at": "5"}, (422, "occurred_at")),
        ({**GOOD, "occurred_at": True}, (422, "occurred_at")),
        ({**GOOD, "occurred_at": None}, (422, "occurred_at")),
        ({**GOOD, "ocurred_at": "2020-01-01T00:00:00Z"}, (422, "ocurred_at")),
        ({"events": []}, (422, "events")),
        ({"events": [GOOD] * 501}, (422, "events")),
        ({"events": [GOOD, {**GOOD, "kind": "kick"}]}, (422, "events.1.kind")),
        ({"events": [GOOD, {**GOOD, "item_id": "nobody"}]}, (404, "events.1.item_id")),
        ({"events": [GOOD, {**GOOD, "occurred_at": AHEAD}]}, (422, "events.1.occurred_at")),
        ([], (422, "body")),
        ("text", (422, "body")),
    ],
)
def test_a_bad_event_names_its_field_and_none_is_accepted(served: Any, body: Any, expected: Any) -> None:
    before = served.log.end_offsets("interactions")
    assert problem_of(served.client.post("/v1/events", json=body)) == expected
    assert served.log.end_offsets("interactions") == before


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b'{"user_id":', "body"),
        (b"[" * 100_000, "body"),
        (b'{"user_id":"\xff"}', "body"),
        (b'{"user_id":"u","item_id":"p1","kind":"rating","value":NaN}', "value"),
    ],
)
def test_what_is_no_json_is_told(served: Any, content: bytes, field: str) -> None:
    headers = {"content-type": "application/json"}
    assert problem_of(served.client.post("/v1/events", content=content, headers=headers)) == (422, field)


@pytest.mark.parametrize(
    "content", [b"x" * 3_000_000, [b"x" * 1_000_000] * 3], ids=["announced", "in chunks"]
)
def test_a_body_that_is_too_large_gets_413(served: Any, content: Any) -> None:
    body = iter(content) if isinstance(content, list) else content
    assert problem_of(served.client.post("/v1/events", content=body)) == (413, "")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"community_id": "nowhere"}, (404, "community_id")),
        ({"title": ""}, (422, "title")),
        ({"title": "x" * 301}, (422, "title")),
        ({"body": "x" * 40_001}, (422, "body")),
        ({"tags": ["t"] * 21}, (422, "tags")),
        ({"tags": ["x" * 65]}, (422, "tags.0")),
        ({"tags": "sf"}, (422, "tags")),
        ({"published_at": AHEAD}, (422, "published_at")),
        ({"published_at": "2020-01-01"}, (422, "published_at")),
        ({"published_at": 20}, (422, "published_at")),
        ({"published_at": "20"}, (422, "published_at")),
        ({"title": "a\0b"}, (422, "title")),
        ({"body": "a\0b"}, (422, "body")),
        ({"tags": ["a\0b"]}, (422, "tags.0")),
        ({"url": "https://a\0b"}, (422, "url")),
        ({"language": "deutsch!"}, (422, "language")),
        ({"likes": 7}, (422, "likes")),
        ({"author_id": None}, (422, "author_id")),
    ],
)
def test_a_bad_post_names_its_field_and_nothing_is_written(served: Any, change: Any, expected: Any) -> None:
    assert problem_of(served.client.put("/v1/items/new", json={**POST, **change})) == expected
    with read_connection(served.engine) as connection:
        assert connection.scalar(select(func.count()).where(items.c.item_id == "new")) == 0
        assert connection.scalar(select(func.count()).select_from(outbox)) == 0


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/feed", (422, "user_id")),
        ("GET", "/v1/feed?user_id=u&limit=0", (422, "limit")),
        ("GET", "/v1/feed?user_id=u&limit=101", (422, "limit")),
        ("GET", "/v1/feed?user_id=u&published_after=2020-01-01T00:00:00", (422, "published_after")),
        ("GET", "/v1/feed?user_id=u&community_id=a%20b", (422, "community_id.0")),
        ("GET", "/v1/feed?user_id=u&community=c0", (422, "community")),
        ("GET", "/v1/feed?user_id=u&cursor=nonsense", (400, "cursor")),
        ("GET", "/v1/items/p1?fields=title", (422, "fields")),
        ("GET", "/v1/items/nobody", (404, "item_id")),
        ("PUT", "/v1/items/nobody/", (422, "item_id")),
        ("DELETE", "/v1/users/u/control/block/x", (404, "")),
        ("GET", "/v1/items/nobody/similar", (404, "item_id")),
        ("DELETE", "/v1/items/nobody", (404, "item_id")),
        ("PUT", "/v1/users/u/communities/nowhere", (404, "community_id")),
        ("PUT", "/v1/users/u/controls/kick/a", (422, "control")),
        ("DELETE", "/v1/users/u?posts=keep", (422, "posts")),
        ("GET", "/v2/feed", (404, "")),
        ("PATCH", "/v1/feed", (405, "")),
    ],
)
def test_a_bad_call_is_a_problem(served: Any, method: str, path: str, expected: Any) -> None:
    assert problem_of(served.client.request(method, path)) == expected


def test_ids_are_compared_byte_for_byte_and_may_hold_a_slash(world: Any) -> None:
    for item in ("Case", "case", "a/b", "ünïcödé-글"):
        world.put_post(item, title=item)
        assert world.client.get(f"/v1/items/{item}").json()["title"] == item


def test_the_same_post_twice_is_one_version(world: Any) -> None:
    world.put_post("p")
    with read_connection(world.engine) as connection:
        events = connection.scalar(select(func.count()).select_from(outbox))
    assert world.client.put(
        "/v1/items/p", json={**POST, "title": "Post p", "author_id": "author"}
    ).json() == {
        "id": "p",
        "changed": False,
    }
    with read_connection(world.engine) as connection:
        assert connection.scalar(select(func.count()).select_from(outbox)) == events


def test_events_are_not_accepted_while_the_log_is_down(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_: object) -> None:
        raise LogUnavailableError("The log does not answer.")

    monkeypatch.setattr(served.log, "append", down)
    answer = served.client.post("/v1/events", json=GOOD)
    assert problem_of(answer) == (503, "")
    assert answer.headers["retry-after"] == "1"


def test_keys_open_what_their_scopes_name(served: Any) -> None:
    settings = served.settings.model_copy(update={"api_keys": {"reader-key": ["feed"]}})
    service = bootstrap(settings, engine=served.engine, log=served.log, store=served.store)
    client = TestClient(service.app)
    feed = "/v1/feed?user_id=u"
    assert client.get(feed).status_code == 401
    assert client.get(feed, headers={"X-API-Key": "wrong"}).status_code == 401
    assert client.get(feed, headers={"Authorization": "Bearer reader-key"}).status_code == 200
    assert client.post("/v1/events", json=GOOD, headers={"X-API-Key": "reader-key"}).status_code == 403
    service.close()


def test_erasure_removes_what_the_api_keeps_and_own_posts(served: Any) -> None:
    served.put_post("mine", author_id="u")
    served.client.put("/v1/users/u/communities/c0")
    served.client.post("/v1/events", json=GOOD)
    served.settle()
    assert served.client.delete("/v1/users/u").status_code == 202
    served.settle()
    assert served.client.get("/v1/items/mine").status_code == 404
    with read_connection(served.engine) as connection:
        kept = connection.execute(select(items.c.author_id, items.c.title).where(items.c.item_id == "mine"))
        assert kept.one() == ("", "")
    assert served.client.get("/v1/users/u/vector").json()["readings"] == []
    served.put_post("other", author_id="v")
    assert served.client.delete("/v1/users/v?posts=anonymise").status_code == 202
    assert served.client.get("/v1/items/other").json()["author_id"].startswith("erased-")


def test_health_metrics_and_openapi_answer(served: Any) -> None:
    assert served.client.get("/healthz").json() == {"status": "ok", "version": version("nearfeed")}
    ready = served.client.get("/readyz")
    assert (ready.status_code, ready.json()["space"]) == (200, "s1")
    served.client.get("/v1/feed?user_id=u")
    assert 'nearfeed_http_seconds_count{method="GET",route="/v1/feed"' in served.client.get("/metrics").text
    paths = served.client.get("/openapi.json").json()["paths"]
    assert {"/v1/feed", "/v1/events", "/v1/items/{item_id}"} <= paths.keys()


def test_the_vector_shows_the_posts_and_weights_behind_it(served: Any) -> None:
    served.client.post("/v1/events", json={**GOOD, "kind": "read"})
    served.settle()
    body = served.client.get("/v1/users/u/vector").json()
    assert body["readings"] == [{"item_id": "p1", "title": "Post p1", "weight": 1.0}]
    assert len(body["vector"]) == 4
