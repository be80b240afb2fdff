"""A call with a reader's own token is for that reader alone, on every route that takes a reader."""

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_recommender.access.callers import READER_SCOPES
from nearfeed_recommender.app.api import scopes_of
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.http.own_user import users_in_body

SECRET = "a secret of tests, of 32 bytes or more"
ME, OTHER = "reader-1", "reader-2"
LIKE = {"user_id": ME, "item_id": "p1", "kind": "like"}
TOLD = "is another reader; a reader's token is for that reader alone"


@pytest.fixture
def reader(served: Any) -> Iterator[Any]:
    """A client with the token of reader-1, on a service that takes tokens."""
    settings = served.settings.model_copy(update={"jwt_secret": SECRET, "reader_calls_per_minute": 1_000})
    service = bootstrap(settings, engine=served.engine, log=served.log, store=served.store)
    token = jwt.encode({"sub": ME, "exp": int(time.time()) + 600}, SECRET, "HS256")
    headers = {"authorization": f"Bearer {token}"}
    yield TestClient(service.app, headers=headers, raise_server_exceptions=False)
    service.close()


def refused(answer: Any) -> list[str]:
    """The fields that a refusal names."""
    assert answer.status_code == 403, answer.text
    errors = answer.json()["errors"]
    assert {error["message"] for error in errors} == {TOLD}
    return [error["field"] for error in errors]


def test_a_reader_may_call_for_themselves(reader: Any) -> None:
    assert reader.put(f"/v1/users/{ME}/communities/c0").status_code == 204
    assert reader.get("/v1/feed", params={"user_id": ME}).status_code == 200
    assert reader.post("/v1/events", json=LIKE).status_code == 202
    assert reader.post("/v1/events", json={"events": [LIKE, LIKE]}).status_code == 202
    assert reader.get(f"/v1/users/{ME}/vector").status_code == 200
    assert reader.get("/v1/items/p1/similar").status_code == 200
    asked = reader.post("/graphql", json={"query": f'{{ reader(id: "{ME}") {{ id }} }}'})
    assert asked.json() == {"data": {"reader": {"id": ME}}}


@pytest.mark.parametrize("url", ["/v1/feed", "/v1/pages/home"])
@pytest.mark.parametrize(
    "query",
    [
        f"user_id={OTHER}",
        f"user_id={ME}&user_id={OTHER}",
        f"user_id={OTHER}&user_id={ME}",
        f"user_id={ME}%20",
        "user_id=",
    ],
)
def test_another_reader_in_the_query_is_refused(reader: Any, url: str, query: str) -> None:
    assert refused(reader.get(f"{url}?{query}")) == ["user_id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/communities/c0"),
        ("DELETE", "/communities/c0"),
        ("PUT", "/controls/mute/tag"),
        ("DELETE", "/controls/mute/tag"),
        ("GET", "/vector"),
    ],
)
def test_another_reader_in_the_path_is_refused(reader: Any, method: str, path: str) -> None:
    for other in (OTHER, "reader%2D2", "reader-1%00", "READER-1"):
        assert refused(reader.request(method, f"/v1/users/{other}{path}")) == ["user_id"]
    # What is the same once decoded is the same reader.
    assert reader.request(method, f"/v1/users/reader%2D1{path}").status_code < 300


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({**LIKE, "user_id": OTHER}, ["user_id"]),
        ({"events": [LIKE, {**LIKE, "user_id": OTHER}]}, ["events.1.user_id"]),
        ({"events": [{**LIKE, "user_id": OTHER}] * 2}, ["events.0.user_id", "events.1.user_id"]),
    ],
)
def test_another_reader_in_the_body_is_refused_whole(
    reader: Any, served: Any, body: dict[str, Any], fields: list[str]
) -> None:
    before = served.log.end_offsets("interactions")
    assert sorted(refused(reader.post("/v1/events", json=body))) == fields
    assert served.log.end_offsets("interactions") == before


def test_a_body_that_says_two_things_is_read_as_the_route_reads_it(reader: Any) -> None:
    twice = f'{{"user_id": "{ME}", "user_id": "{OTHER}", "item_id": "p1", "kind": "like"}}'
    headers = {"content-type": "application/json"}
    assert refused(reader.post("/v1/events", content=twice, headers=headers)) == ["user_id"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/yaml"])
def test_another_type_of_body_hides_no_reader(reader: Any, kind: str) -> None:
    other = f'{{"user_id": "{OTHER}", "item_id": "p1", "kind": "like"}}'
    assert refused(reader.post("/v1/events", content=other, headers={"content-type": kind})) == ["user_id"]
    answer = reader.post("/v1/events", content=f"user_id: {OTHER}", headers={"content-type": kind})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ('{ reader(id: "reader-2") { id } }', "query.reader.id"),
        ('{ me: reader(id: "reader-1") { id } you: reader(id: "reader-2") { id } }', "query.you.id"),
        ('query Q($id: ID = "reader-2") { reader(id: $id) { readings { at } } }', "query.reader.id"),
    ],
)
def test_another_reader_in_a_query_is_refused(reader: Any, query: str, field: str) -> None:
    assert refused(reader.post("/graphql", json={"query": query})) == [field]


def test_a_reader_sees_no_lists_of_readers(reader: Any) -> None:
    for query in ('{ item(id: "p1") { readers { at } } }', '{ community(id: "c0") { members { id } } }'):
        answer = reader.post("/graphql", json={"query": query}).json()
        assert "scope 'admin'" in answer["errors"][0]["message"]


def test_a_reader_may_do_no_more_than_read_and_tell(reader: Any) -> None:
    for scope, method, url in reader_routes(reader.app):
        if scope not in READER_SCOPES:
            answer = reader.request(method, url)
            assert (answer.status_code, scope in answer.json()["detail"]) == (403, True), url


def test_no_route_takes_another_reader(reader: Any) -> None:
    """Each route of a reader's scopes that names readers; a new one that forgets them fails here."""
    named = 0
    for scope, method, url in reader_routes(reader.app):
        if scope in READER_SCOPES and "{user_id}" in url:
            named += 1
            assert refused(reader.request(method, url.replace("{user_id}", OTHER))) == ["user_id"]
    assert named >= 5


def test_readers_go_by_one_name_in_all_parameters(reader: Any) -> None:
    """What the check looks for by name must have that name."""
    for route in iter_route_contexts(reader.app.routes):
        dependant = getattr(route, "dependant", None)
        if dependant is None or not scopes_of(dependant) & READER_SCOPES:
            continue
        names = {field.alias for field in (*dependant.path_params, *dependant.query_params)}
        assert not {name for name in names if "user" in name or "reader" in name} - {"user_id"}, route.path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([ME, OTHER, ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["user_id", "events", "a"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def readers_in(part: Any, path: str = "") -> dict[str, Any]:
    """The oracle: what stands under `user_id`, by its place."""
    if isinstance(part, dict):
        steps = list(part.items())
    elif isinstance(part, list):
        steps = [(str(place), inner) for place, inner in enumerate(part)]
    else:
        return {}
    found = {f"{path}{step}": inner for step, inner in steps if step == "user_id"}
    for step, inner in steps:
        found |= readers_in(inner, f"{path}{step}.")
    return found


@given(JSON)
def test_no_reader_is_overlooked_however_deep(body: Any) -> None:
    assert dict(users_in_body(body)) == readers_in(body)


def test_depth_is_no_way_around(reader: Any) -> None:
    for depth in (100, 900, 5_000):
        text = "[" * depth + f'{{"user_id": "{OTHER}"}}' + "]" * depth
        answer = reader.post("/v1/events", content=text, headers={"content-type": "application/json"})
        assert answer.status_code in (403, 422), depth


def reader_routes(app: Any) -> Iterator[tuple[str, str, str]]:
    """Scope, method and path of each route that has a scope."""
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        for scope in scopes_of(dependant) if dependant else ():
            for method in route.methods or ():
                yield scope, method, str(route.path_format)


def test_without_a_token_nothing_is_open_where_readers_have_tokens(reader: Any) -> None:
    del reader.headers["authorization"]
    assert reader.get("/v1/feed", params={"user_id": ME}).status_code == 401


def test_a_token_that_does_not_hold_is_told(reader: Any) -> None:
    expired = jwt.encode({"sub": ME, "exp": 1}, SECRET, "HS256")
    answer = reader.get("/v1/feed?user_id=reader-1", headers={"authorization": f"Bearer {expired}"})
    assert (answer.status_code, answer.json()["detail"]) == (401, "The token has expired.")
    assert answer.headers["www-authenticate"] == "Bearer"
