"""Whatever a post says, it comes back as it was, as JSON that nothing takes for a page."""

import json
from typing import Any

import pytest

TITLES = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"'`><svg/onload=alert(1)>",
    'javascript:alert(1)//\\"\n\r\t\x0b\x1b[31m\x7f\x85',
    "{{7*7}} ${7*7} %s %n <%= 7*7 %>",
    "\u2028line\u2029 \u202egnp.exe \ufeff\U0001f600 \ufdd0",
    "'; DROP TABLE items; --",
    "__proto__ constructor null undefined NaN",
]
BODY = "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>\r\n\x01\x02 & &amp; &lt; " + "\\" * 9
TAGS = ["<b>", "a\nb", "\u202etag", "\"'"]


@pytest.fixture
def hostile(served: Any) -> Any:
    """Every title stands in the feed of reader-1."""
    for number, title in enumerate(TITLES):
        served.put_post(f"p{number}", "c0", title=title, body=BODY, tags=TAGS, author_id="<b>author</b>")
    assert served.client.put("/v1/users/reader-1/communities/c0").status_code == 204
    served.settle()
    return served


def body_of(answer: Any, media: str = "application/json") -> Any:
    """The body, after a look at how it is declared and written."""
    assert answer.headers["content-type"] == media
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    raw = answer.content.decode("utf-8")
    assert not [character for character in raw if ord(character) < 0x20]
    return json.loads(raw)


def check_posts(found: list[dict[str, Any]]) -> None:
    by_id = {f"p{number}": title for number, title in enumerate(TITLES)}
    shown = {post["id"]: post for post in found if post["id"] in by_id}
    assert {item: post["title"] for item, post in shown.items()} == by_id
    for post in shown.values():
        assert (post["body"], list(post["tags"])) == (BODY, TAGS)


def test_the_feed_says_what_was_written(hostile: Any) -> None:
    check_posts(body_of(hostile.client.get("/v1/feed?user_id=reader-1&limit=100"))["items"])


def test_a_page_says_what_was_written(hostile: Any) -> None:
    page = {"sections": [{"name": "s", "title": TITLES[0], "provider": "latest", "limit": 100}]}
    said = {"author": TITLES[0], "reason": TITLES[1]}
    put = hostile.client.put("/v1/admin/pages/top", params=said, json=page)
    assert put.status_code == 200, put.text
    (section,) = body_of(hostile.client.get("/v1/pages/top?user_id=reader-1"))["sections"]
    assert section["title"] == TITLES[0]
    check_posts(section["items"])
    audit = body_of(hostile.client.get("/v1/admin/audit"))["changes"][0]
    assert (audit["detail"]["author"], audit["detail"]["reason"]) == (TITLES[0], TITLES[1])


def test_similar_posts_and_a_post_say_what_was_written(hostile: Any) -> None:
    check_posts(body_of(hostile.client.get("/v1/items/p19/similar?limit=100"))["items"])
    for number, title in enumerate(TITLES):
        assert body_of(hostile.client.get(f"/v1/items/p{number}"))["title"] == title


def test_graphql_says_what_was_written(hostile: Any) -> None:
    query = '{ community(id: "c0") { items(limit: 100) { id title body tags author } } }'
    answer = hostile.client.post("/graphql", json={"query": query})
    posts = body_of(answer)["data"]["community"]["items"]
    check_posts(posts)
    assert "<b>author</b>" in {post["author"] for post in posts}


@pytest.mark.parametrize("title", TITLES)
def test_problems_repeat_what_was_sent_as_json(world: Any, title: str) -> None:
    problem = "application/problem+json"
    said = "".join(character for character in title if character.isprintable() and character not in " /?#%\\")
    for answer in (
        world.client.get("/v1/feed", params={title: title, "user_id": "u"}),
        world.client.get(f"/v1/items/{said}x"),
        world.client.post("/v1/events", json={"user_id": title, "item_id": "<b>", "kind": title}),
        world.client.post("/v1/events", content=title, headers={"content-type": "text/html"}),
        world.client.get(f"/{said}"),
        world.client.get("/v1/feed", params={"user_id": "u", "cursor": title}),
    ):
        assert answer.status_code in (400, 404, 422), answer.text
        assert body_of(answer, problem)["status"] == answer.status_code


def test_an_unexpected_error_has_the_headers_too(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(world.answers.feed), "first", lambda *_, **__: 1 / 0)
    answer = world.client.get("/v1/feed?user_id=u")
    assert answer.status_code == 500
    assert "division" not in answer.text
    body_of(answer, "application/problem+json")


@pytest.mark.parametrize("bad", ["\x00", "\ud800", "", "x" * 301])
def test_what_cannot_be_kept_as_it_is_is_refused_by_its_field(world: Any, bad: str) -> None:
    body = json.dumps({"community_id": "c", "author_id": "a", "title": bad})
    headers = {"content-type": "application/json"}
    answer = world.client.put("/v1/items/p", content=body, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "title")
    body_of(answer, "application/problem+json")
