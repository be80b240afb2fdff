"""The feed: what is in it, what never is, pages, degradation."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfeed_contracts.vector_store import StoreUnavailableError

numbers = itertools.count()


def feed(world: Any, user_id: str, **params: Any) -> dict[str, Any]:
    answer = world.client.get("/v1/feed", params={"user_id": user_id, **params})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def whole_feed(world: Any, user_id: str, limits: list[int], **params: Any) -> list[str]:
    """All pages, with limits taken in turn."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    for limit in itertools.cycle(limits):
        page = feed(world, user_id, limit=limit, **params, **cursor)
        ids += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return ids
        cursor = {"cursor": page["next_cursor"]}
    raise AssertionError


def tell(world: Any, user_id: str, item_id: str, kind: str = "read", **more: Any) -> None:
    body = {"user_id": user_id, "item_id": item_id, "kind": kind, **more}
    answer = world.client.post("/v1/events", json=body)
    assert answer.status_code == 202, answer.text


def test_the_feed_is_the_search_with_the_readers_vector(
    served: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    tell(served, "u", "p4")
    tell(served, "u", "p8", "like")
    served.settle()
    page = feed(served, "u", limit=100)
    vectors = {f"p{n}": random_vector(n) for n in range(20)}
    reader = (vectors["p4"] + vectors["p8"]) / 2
    expected = sorted(vectors.keys() - {"p4", "p8"}, key=lambda item: -float(vectors[item] @ reader))
    assert [item["id"] for item in page["items"]] == expected
    assert page["space"] == "s1"
    assert not page["degraded"]
    assert {item["source"] for item in page["items"]} == {"personal", "new"}


def test_a_reason_names_the_read_post_that_is_closest(
    served: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    tell(served, "u", "p4")
    tell(served, "u", "p8")
    served.settle()
    for item in feed(served, "u", limit=100)["items"]:
        own = random_vector(int(item["id"][1:]))
        closest = max(("p4", "p8"), key=lambda read: float(random_vector(int(read[1:])) @ own))
        assert item["reason"]["item_id"] == closest
        if item["source"] == "personal":
            assert item["reason"]["text"] == f"Because you read Post {closest}"


def test_only_joined_communities_are_shown(served: Any) -> None:
    tell(served, "u", "p3")
    assert served.client.put("/v1/users/u/communities/c0").status_code == 204
    served.settle()
    assert {item["community_id"] for item in feed(served, "u", limit=100)["items"]} == {"c0"}
    assert feed(served, "u", community_id="c1")["items"] == []
    served.client.delete("/v1/users/u/communities/c0")
    assert len(feed(served, "u", limit=100)["items"]) == 19


def test_what_may_not_be_seen_is_gone_from_the_next_page_and_the_page_is_full(served: Any) -> None:
    tell(served, "u", "p0")
    served.settle()
    first = feed(served, "u", limit=5)
    ranked = whole_feed(served, "u", [19])
    assert served.client.delete(f"/v1/items/{ranked[6]}").status_code == 204
    assert served.client.put(f"/v1/users/u/controls/less/{ranked[7]}").status_code == 204
    second = feed(served, "u", limit=5, cursor=first["next_cursor"])
    left = [item for item in ranked[5:] if item not in (ranked[6], ranked[7])]
    assert [item["id"] for item in second["items"]] == left[:5]


def test_a_takedown_holds_at_once_though_the_index_still_has_it(served: Any) -> None:
    tell(served, "u", "p0")
    served.settle()
    best = feed(served, "u")["items"][0]["id"]
    served.client.delete(f"/v1/items/{best}")
    assert best in served.store.fetch("s1", [best])
    assert best not in whole_feed(served, "u", [7])
    similar = served.client.get("/v1/items/p1/similar", params={"limit": 50}).json()["items"]
    assert best not in [item["id"] for item in similar]


def test_own_posts_and_blocked_authors_are_never_shown(served: Any) -> None:
    served.put_post("mine", author_id="u", tags=["x"])
    served.put_post("theirs", author_id="foe")
    served.put_post("tagged", author_id="friend", tags=["politics"])
    for seed, item in enumerate(["mine", "theirs", "tagged"]):
        served.set_vector("s1", item, np.eye(4, dtype=np.float32)[seed])
    tell(served, "u", "p0")
    served.settle()
    assert "mine" not in whole_feed(served, "u", [9])
    assert {"theirs", "tagged"} <= set(whole_feed(served, "u", [9]))
    served.client.put("/v1/users/u/controls/block/foe")
    served.client.put("/v1/users/u/controls/mute/politics")
    assert not {"theirs", "tagged"} & set(whole_feed(served, "u", [9]))
    assert served.client.put("/v1/users/u/controls/mute/Sci Fi").status_code == 204
    served.client.delete("/v1/users/u/controls/block/foe")
    assert "theirs" in whole_feed(served, "u", [9])


def test_published_after_keeps_newer_posts_and_later_pages_keep_it(served: Any) -> None:
    old = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    served.put_post("old", published_at=old)
    served.set_vector("s1", "old", np.ones(4, dtype=np.float32) / 2)
    tell(served, "u", "p0")
    served.settle()
    after = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert "old" in whole_feed(served, "u", [3])
    assert "old" not in whole_feed(served, "u", [3], published_after=after)
    assert "old" not in whole_feed(served, "nobody", [3], published_after=after)


def test_a_reader_without_readings_gets_popular_and_latest_of_their_communities(served: Any) -> None:
    for reader in range(3):
        tell(served, f"r{reader}", "p5")
    served.settle()
    served.client.put("/v1/users/new/communities/c1")
    page = feed(served, "new", limit=100)
    assert {item["community_id"] for item in page["items"]} == {"c1"}
    assert (page["items"][0]["id"], page["items"][0]["source"]) == ("p5", "popular")
    latest = [item["id"] for item in page["items"] if item["source"] == "latest"]
    assert latest == [f"p{n}" for n in range(19, 0, -2) if n != 5]
    assert not page["degraded"]
    assert {item["community_id"] for item in feed(served, "unknown", limit=100)["items"]} == {"c0", "c1"}


def test_without_the_store_the_feed_is_degraded_and_recovers(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(served, "u", "p0")
    served.settle()

    def down(*_: object) -> None:
        raise StoreUnavailableError("down")

    with monkeypatch.context() as patch:
        patch.setattr(served.store, "search", down)
        page = feed(served, "u", limit=100)
        assert page["degraded"]
        assert len(page["items"]) == 19
        assert {item["source"] for item in page["items"]} <= {"popular", "latest"}
        assert served.client.get("/v1/items/p1/similar").status_code == 503
    assert not feed(served, "u")["degraded"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=st.lists(st.integers(1, 9), min_size=1, max_size=4), read=st.sets(st.integers(0, 19), max_size=6)
)
def test_cursors_never_repeat_or_skip(served: Any, limits: list[int], read: set[int]) -> None:
    user_id = f"pager{next(numbers)}"
    for item in read:
        tell(served, user_id, f"p{item}")
    served.settle()
    ids = whole_feed(served, user_id, limits)
    assert len(ids) == len(set(ids))
    assert set(ids) == {f"p{n}" for n in range(20) if n not in read}
    assert ids == [item["id"] for item in feed(served, user_id, limit=100)["items"]]


def test_posts_that_arrive_between_pages_neither_shift_nor_repeat(
    served: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    tell(served, "u", "p0")
    served.settle()
    ranked = whole_feed(served, "u", [19])
    first = feed(served, "u", limit=6)
    served.put_post("fresh")
    served.set_vector("s1", "fresh", random_vector(0))
    second = feed(served, "u", limit=100, cursor=first["next_cursor"])
    assert [item["id"] for item in second["items"]] == ranked[6:]
    assert feed(served, "u")["items"][0]["id"] == "fresh"


def test_cursors_of_others_forged_ones_and_expired_ones_are_refused(served: Any) -> None:
    cursor = feed(served, "u", limit=2)["next_cursor"]
    for user_id, forged in [("v", cursor), ("u", cursor[:-2] + "AA"), ("u", "é"), ("u", "x" * 40)]:
        answer = served.client.get("/v1/feed", params={"user_id": user_id, "cursor": forged})
        assert answer.status_code == 400, forged
        assert "cursor" in answer.json()["detail"]
    served.settings = served.settings.model_copy(update={"page_ttl_minutes": 1e-9})
    served.restart()
    assert served.client.get("/v1/feed", params={"user_id": "u", "cursor": cursor}).status_code == 410


def test_a_page_keeps_the_space_that_it_began_with(
    served: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    tell(served, "u", "p0")
    served.settle()
    ranked = whole_feed(served, "u", [19])
    first = feed(served, "u", limit=6)
    served.add_space("s2")
    second = feed(served, "u", limit=100, cursor=first["next_cursor"])
    assert (second["space"], [item["id"] for item in second["items"]]) == ("s1", ranked[6:])
    assert feed(served, "u")["space"] == "s2"


def test_a_new_post_gets_a_place_among_the_first_five_however_far_it_is(
    served: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    old = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    for number in range(20):
        served.put_post(f"p{number}", f"c{number % 2}", published_at=old)
        served.set_vector("s1", f"p{number}", random_vector(number), version=2)
    tell(served, "u", "p0")
    served.settle()
    assert {item["source"] for item in feed(served, "u", limit=100)["items"]} == {"personal"}
    served.put_post("fresh")
    served.set_vector("s1", "fresh", -random_vector(0))
    page = feed(served, "u", limit=5)
    assert [(item["id"], item["source"]) for item in page["items"]][4] == ("fresh", "new")
    assert page["items"][4]["reason"] == {"kind": "new", "text": "New in c0", "item_id": "p0"}


def test_an_event_changes_the_next_feed(served: Any) -> None:
    tell(served, "u", "p0")
    served.settle()
    before = whole_feed(served, "u", [20])
    tell(served, "u", before[-1], "like")
    served.settle()
    after = whole_feed(served, "u", [20])
    assert before[-1] not in after
    assert after != before[:-1]


def test_a_post_that_is_liked_no_more_and_was_never_read_comes_back(served: Any) -> None:
    tell(served, "u", "p0")
    tell(served, "u", "p1")
    served.settle()
    before = whole_feed(served, "u", [20])
    for item in ("p1", before[0]):
        tell(served, "u", item, "like")
    served.settle()
    assert before[0] not in whole_feed(served, "u", [20])
    for item in ("p1", before[0]):
        tell(served, "u", item, "unlike")
    served.settle()
    assert whole_feed(served, "u", [20]) == before


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    between=st.lists(st.sampled_from(["nothing", "takedown", "arrival", "read"]), min_size=1, max_size=8),
    data=st.data(),
)
def test_pages_neither_repeat_nor_skip_whatever_happens_between_them(
    served: Any,
    random_vector: Callable[[int], np.ndarray],
    limits: list[int],
    between: list[str],
    data: st.DataObject,
) -> None:
    """What the first page ranked is shown once, in that order, unless it was taken down or read by then."""
    number = next(numbers)
    user_id, taken = f"pager{number}", []
    for item in range(20):
        served.put_post(f"p{item}", f"c{item % 2}")
    tell(served, user_id, "p0")
    served.settle()
    ranked = whole_feed(served, user_id, [20])
    shown: list[str] = []
    cursor: dict[str, str] = {}
    for limit, event in zip(itertools.cycle(limits), itertools.chain(between, itertools.repeat("nothing"))):
        page = feed(served, user_id, limit=limit, **cursor)
        assert len(page["items"]) == limit or page["next_cursor"] is None
        shown += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        left = [item for item in ranked if item not in shown and item not in taken]
        if event == "takedown" and left:
            taken.append(data.draw(st.sampled_from(left)))
            assert served.client.delete(f"/v1/items/{taken[-1]}").status_code == 204
        elif event == "read" and left:
            taken.append(data.draw(st.sampled_from(left)))
            tell(served, user_id, taken[-1])
            served.settle()
        elif event == "arrival":
            new = f"new{next(numbers)}"
            served.put_post(new, author_id="author")
            served.set_vector("s1", new, random_vector(number))
    assert shown == [item for item in ranked if item not in taken]
