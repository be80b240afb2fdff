"""What the page asks of the API, on SQLite and MariaDB: readers, neighbours, maps, previews, the system."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select

from nearfeed_contracts.tables import feed_pages, positions, served_requests, user_vectors
from nearfeed_recommender.catalog.spaces import NoSuchSpaceError
from nearfeed_recommender.space_maps.files import NoMapError, read_map
from nearfeed_recommender.space_maps.maps import TooFewPostsError, map_space
from nearfeed_recommender.users import search as looking
from nearfeed_runtime.sql import read_connection, upsert, write_transaction

READERS = {"ann": ("p0", "p2"), "anna": ("p0", "p2", "p4"), "bob": ("p1",)}


@pytest.fixture
def read(served: Any) -> Any:
    """Three readers, who have read something."""
    events = [
        {"user_id": reader, "item_id": item, "kind": "read"}
        for reader, ids in READERS.items()
        for item in ids
    ]
    assert served.client.post("/v1/events", json={"events": events}).status_code == 202
    served.settle()
    return served


def get(world: Any, path: str, status: int = 200, **params: Any) -> Any:
    answer = world.client.get(path, params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_scopes_and_communities(served: Any) -> None:
    assert get(served, "/v1/scopes") == {"scopes": ["admin", "events", "feed", "items"]}
    assert get(served, "/v1/communities") == {"communities": ["c0", "c1"], "after": None}
    assert get(served, "/v1/communities", limit=1) == {"communities": ["c0"], "after": "c0"}
    assert get(served, "/v1/communities", limit=1, after="c0") == {"communities": ["c1"], "after": None}


def test_readers_are_found_by_the_beginning_of_their_ids(read: Any) -> None:
    read.client.put("/v1/users/member/communities/c0")
    everybody = get(read, "/v1/admin/readers")["readers"]
    assert [reader["user_id"] for reader in everybody] == ["ann", "anna", "bob", "member"]
    assert everybody[1] == {"user_id": "anna", "posts": 3, "communities": 0}
    assert everybody[3] == {"user_id": "member", "posts": 0, "communities": 1}
    found = get(read, "/v1/admin/readers", prefix="ann", limit=1)["readers"]
    assert [reader["user_id"] for reader in found] == ["ann"]
    assert get(read, "/v1/admin/readers", prefix="an%") == {"readers": []}


def test_what_is_around_a_reader(read: Any, random_vector: Callable[[int], np.ndarray]) -> None:
    read.put_post("p2", "c0", tags=["quiet", "old"])
    read.put_post("p0", "c0", tags=["quiet"])
    read.client.put("/v1/users/ann/controls/mute/old")
    found = get(read, "/v1/admin/readers/around", user_id="ann", limit=5)
    vector = np.mean([random_vector(0), random_vector(2)], axis=0)
    scores = {f"p{number}": float(random_vector(number) @ vector) for number in range(20)}
    best = sorted(scores, key=scores.__getitem__, reverse=True)[:5]
    assert [post["id"] for post in found["posts"]] == best
    assert [post["score"] for post in found["posts"]] == pytest.approx([scores[i] for i in best], abs=1e-3)
    assert {post["id"] for post in found["posts"] if post["met"]} == {"p0", "p2"} & set(best)
    assert [reader["user_id"] for reader in found["readers"]] == ["anna", "bob"]
    assert (found["compared"], found["comparable"]) == (2, 2)
    other = np.mean([random_vector(number) for number in (0, 2, 4)], axis=0)
    cosine = float(vector @ other / np.linalg.norm(vector) / np.linalg.norm(other))
    assert found["readers"][0]["cosine"] == pytest.approx(cosine, abs=1e-3)
    assert [(topic["tag"], topic["muted"]) for topic in found["topics"]] == [("quiet", False), ("old", True)]
    assert [topic["share"] for topic in found["topics"]] == pytest.approx([0.75, 0.25], abs=1e-3)


def test_around_a_stranger_is_nothing(read: Any, world: Any) -> None:
    found = get(read, "/v1/admin/readers/around", user_id="nobody")
    empty: dict[str, Any] = {"posts": [], "readers": [], "compared": 0, "comparable": 0, "topics": []}
    assert found == {"space": "s1", **empty}


def test_of_many_readers_some_are_drawn_by_chance(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "MOST_COMPARED", 3)
    monkeypatch.setattr(looking, "_AT_ONCE", 2)
    with write_transaction(read.engine) as transaction:
        vector = transaction.scalar(select(user_vectors.c.vector).where(user_vectors.c.user_id == "bob"))
        rows = [
            {"space": "s1", "user_id": f"r{number:02}", "vector": vector, "readings": 1, "stale": False}
            for number in range(40)
        ]
        upsert(transaction, user_vectors, rows)
    met = set()
    for reader in READERS:
        found = get(read, "/v1/admin/readers/around", user_id=reader, limit=5)
        assert (found["compared"], found["comparable"]) == (3, 42)
        assert found == get(read, "/v1/admin/readers/around", user_id=reader, limit=5)
        met |= {near["user_id"] for near in found["readers"]}
    assert not met <= {"ann", "anna", "bob", "r00", "r01", "r02", "r03"}


def test_a_map_and_a_reader_on_it(read: Any) -> None:
    assert "nearfeed map s1" in get(read, "/v1/admin/spaces/map", 404, space="s1")["detail"]
    assert get(read, "/v1/admin/spaces/maps") == {"spaces": []}
    made = read.client.post("/v1/admin/spaces/map", params={"space": "s1"})
    assert made.status_code == 201
    assert get(read, "/v1/admin/spaces/maps") == {"spaces": ["s1"]}
    assert made.json() == get(read, "/v1/admin/spaces/map", space="s1")
    points = {point["id"]: point for point in made.json()["points"]}
    assert set(points) == {f"p{number}" for number in range(20)}
    assert (points["p3"]["community"], points["p3"]["title"]) == (1, "Post p3")
    place = get(read, "/v1/admin/spaces/map/reader", space="s1", user_id="ann")
    for axis in ("x", "y"):
        mean = np.mean([points[item][axis] for item in READERS["ann"]])
        assert place[axis] == pytest.approx(mean, abs=1e-3)
    assert {reading["id"] for reading in place["readings"]} == set(READERS["ann"])
    nobody = get(read, "/v1/admin/spaces/map/reader", space="s1", user_id="nobody")
    assert nobody == {"x": None, "y": None, "readings": []}


def test_a_post_that_was_taken_down_leaves_the_map(read: Any) -> None:
    read.client.post("/v1/admin/spaces/map", params={"space": "s1"})
    assert read.client.delete("/v1/items/p3").status_code == 204
    found = get(read, "/v1/admin/spaces/map", space="s1")
    assert "p3" not in {point["id"] for point in found["points"]}
    assert found["posts"] == 20


def test_the_command_draws_a_sample_that_stays_the_same(read: Any) -> None:
    runs = read.settings.runs_url
    with pytest.raises(NoMapError):
        read_map(runs, "../../s1")
    (said,) = map_space(read.engine, runs, "s1", most=7)
    assert "7 of its 20 posts" in said.text
    first = read_map(runs, "s1")
    assert len(first.item_ids) == 7
    list(map_space(read.engine, runs, "s1", most=7))
    assert read_map(runs, "s1").places == first.places
    with pytest.raises(NoSuchSpaceError, match="spaces: s1"):
        list(map_space(read.engine, runs, "s9"))
    read.add_space("empty", active=False)
    with pytest.raises(TooFewPostsError):
        list(map_space(read.engine, runs, "empty"))
    assert get(read, "/v1/admin/spaces/map", 404, space="../s1")["detail"].startswith("There is no space")


def test_a_preview_is_the_feed_of_its_space_and_is_not_noted(
    read: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    read.add_space("s2", active=False)
    for number in range(20):
        read.set_vector("s2", f"p{number}", random_vector(100 + number))
    read.set_loaded("s2")
    read.settle()
    before = get(read, "/v1/admin/spaces/feed", space="s1", user_id="ann", limit=18)
    other = get(read, "/v1/admin/spaces/feed", space="s2", user_id="ann", limit=18)
    assert (before["active"], other["active"]) == (True, False)
    read.settle()
    with read_connection(read.engine) as connection:
        assert connection.execute(select(served_requests)).all() == []
        assert connection.execute(select(feed_pages)).all() == []
    feed = get(read, "/v1/feed", user_id="ann", limit=18)["items"]
    assert [item["id"] for item in before["items"]] == [item["id"] for item in feed]
    personal = [item for item in other["items"] if item["source"] == "personal"]
    vector = np.mean([random_vector(100), random_vector(102)], axis=0)
    scores = [float(random_vector(100 + int(item["id"][1:])) @ vector) for item in personal]
    assert personal
    assert scores == sorted(scores, reverse=True)
    assert get(read, "/v1/admin/spaces/feed", 404, space="s9", user_id="ann")["status"] == 404


def test_spaces_and_system(read: Any) -> None:
    (space,) = get(read, "/v1/admin/spaces")["spaces"]
    assert (space["space"], space["active"], space["model"], space["dim"]) == ("s1", True, "test", 4)
    assert space["readers"] == 0
    found = get(read, "/v1/admin/system")
    assert found["checks"] == {"database": True, "log": True, "vectors": True}
    lags = {topic["topic"]: topic for topic in found["topics"]}
    assert lags["interactions"]["end"] == 6
    assert {"group": "recommender", "behind": 0} in lags["interactions"]["groups"]
    routes = {(route["method"], route["route"]): route["calls"] for route in found["routes"]}
    assert routes["PUT", "/v1/items/{item_id:path}"] == 20
    assert not [route for _, route in routes if "admin" in route]
    with write_transaction(read.engine) as transaction:
        transaction.execute(delete(positions).where(positions.c.topic == "interactions"))
        transaction.execute(
            positions.insert().values(consumer_group="slow", topic="interactions", partition=0, next_offset=2)
        )
    lags = {topic["topic"]: topic for topic in get(read, "/v1/admin/system")["topics"]}
    assert lags["interactions"]["groups"] == [{"group": "slow", "behind": 4}]


def test_before_the_first_space(world: Any) -> None:
    assert get(world, "/v1/admin/spaces") == {"spaces": []}
    assert get(world, "/v1/admin/readers/around", user_id="ann")["space"] is None
    with read_connection(world.engine) as connection:
        assert connection.execute(select(user_vectors)).all() == []
