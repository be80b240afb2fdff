"""What a reader sets holds in the next answer and in every space; lifted, it holds no more."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.pipeline.diversity import CLOSE, STRENGTH, demoted_order
from nearfeed_recommender.pipeline.less import MOST

POSTS = [f"p{number}" for number in range(20)]
TAGS = ["quiet", "sci fi", "a/b", "ünï"]
AUTHORS = ["ann", "bob", "a/c"]
numbers = itertools.count()
bounded = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
controls = st.one_of(
    st.tuples(st.sampled_from(["hide", "less"]), st.sampled_from(POSTS)),
    st.tuples(st.just("mute"), st.sampled_from(TAGS + AUTHORS)),
    st.tuples(st.just("block"), st.sampled_from(AUTHORS)),
)


def ask(world: Any, path: str, **params: Any) -> dict[str, Any]:
    answer = world.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def put(world: Any, user: str, control: str, target: str) -> None:
    assert world.client.put(f"/v1/users/{user}/controls/{control}/{target}").status_code == 204


def lift(world: Any, user: str, control: str, target: str) -> None:
    assert world.client.delete(f"/v1/users/{user}/controls/{control}/{target}").status_code == 204


def feed_of(world: Any, user: str, **params: Any) -> list[str]:
    page = ask(world, "/v1/feed", user_id=user, limit=100, **params)
    assert not page["degraded"], page["failures"]
    return [item["id"] for item in page["items"]]


def page_of(world: Any, user: str) -> set[str]:
    page = ask(world, "/v1/pages/home", user_id=user)
    assert not any(section["failures"] for section in page["sections"])
    return {item["id"] for section in page["sections"] for item in section["items"]}


def similar_of(world: Any, user: str) -> set[str]:
    body = ask(world, "/v1/items/p0/similar", user_id=user, limit=100)
    return {item["id"] for item in body["items"]}


@pytest.fixture
def tagged(world: Any, random_vector: Callable[[int], np.ndarray]) -> Any:
    """Twenty posts with authors and tags, whose vectors differ in two spaces; s1 is served."""
    for number, post in enumerate(POSTS):
        world.put_post(post, author_id=AUTHORS[number % 3], tags=[TAGS[number % 4]])
    for space, base in (("s1", 0), ("s2", 100)):
        world.add_space(space, active=space == "s1")
        for number, post in enumerate(POSTS):
            world.set_vector(space, post, random_vector(base + number))
        world.set_loaded(space)
    world.settle()
    world.vectors = {
        space: {post: random_vector(base + number) for number, post in enumerate(POSTS)}
        for space, base in (("s1", 0), ("s2", 100))
    }
    return world


def read(world: Any, user: str, *posts: str, settle: bool = True) -> None:
    events = [{"user_id": user, "item_id": post, "kind": "read"} for post in posts]
    assert world.client.post("/v1/events", json={"events": events}).status_code == 202
    if settle:
        world.settle()


def activate(world: Any, space: str) -> None:
    from sqlalchemy import update

    from nearfeed_contracts.tables import active_space
    from nearfeed_runtime.sql import write_transaction

    with write_transaction(world.engine) as transaction:
        transaction.execute(update(active_space).values(space=space))


def refused(world: Any, space: str, kept: set[tuple[str, str]]) -> set[str]:
    """By the words of the document: which posts controls keep away in a space."""
    vectors = world.vectors[space]
    gone = {target for control, target in kept if control in ("hide", "less")}
    away = {target for control, target in kept if control in ("mute", "block")}
    muted = {target for control, target in kept if control == "mute"}
    less = [target for control, target in kept if control == "less"]
    for number, post in enumerate(POSTS):
        if AUTHORS[number % 3] in away or TAGS[number % 4] in muted:
            gone.add(post)
        if any(float(vectors[post] @ vectors[one]) >= CLOSE for one in less):
            gone.add(post)
    return gone


@bounded
@given(wished=st.lists(controls, min_size=1, max_size=4, unique=True), data=st.data())
def test_each_control_holds_in_every_next_answer_and_lifting_it_undoes_it(
    tagged: Any, wished: list[tuple[str, str]], data: st.DataObject
) -> None:
    user = f"u{next(numbers)}"
    read(tagged, user, "p0")
    before = {space: None for space in tagged.vectors}
    for space in before:
        activate(tagged, space)
        before[space] = feed_of(tagged, user)
    activate(tagged, "s1")
    first = ask(tagged, "/v1/feed", user_id=user, limit=4)
    for control, target in wished:
        put(tagged, user, control, target)
    later = ask(tagged, "/v1/feed", user_id=user, limit=100, cursor=first["next_cursor"])
    gone = refused(tagged, "s1", set(wished))
    assert [item["id"] for item in later["items"]] == [post for post in before["s1"][4:] if post not in gone]
    for space in before:
        activate(tagged, space)
        gone = refused(tagged, space, set(wished))
        shown = feed_of(tagged, user)
        assert not gone & {*shown, *page_of(tagged, user), *similar_of(tagged, user)}
        if ("p0" not in gone) and not any(control == "less" for control, _ in wished):
            assert shown == [post for post in before[space] if post not in gone]
    activate(tagged, "s1")
    if data.draw(st.booleans()):
        tagged.settle()
    for control, target in data.draw(st.permutations(wished)):
        lift(tagged, user, control, target)
    assert feed_of(tagged, user) == before["s1"]
    assert ask(tagged, f"/v1/users/{user}/controls")["controls"] == []


def test_what_is_set_is_told_newest_first(tagged: Any) -> None:
    for control, target in (("mute", "a/b"), ("hide", "p1"), ("follow", "ann")):
        put(tagged, "u", control, target)
    put(tagged, "u", "mute", "a/b")
    found = ask(tagged, "/v1/users/u/controls")
    assert found["user_id"] == "u"
    assert [(each["control"], each["target"]) for each in found["controls"]] == [
        ("follow", "ann"),
        ("hide", "p1"),
        ("mute", "a/b"),
    ]
    assert all(each["set_at"].endswith("Z") for each in found["controls"])
    assert ask(tagged, "/v1/users/nobody/controls")["controls"] == []
    tagged.client.put("/v1/users/u/communities/c0")
    joined = ask(tagged, "/v1/users/u/communities")["communities"]
    assert [each["community_id"] for each in joined] == ["c0"]
    assert ask(tagged, "/v1/users/a/b/communities") == {"user_id": "a/b", "communities": []}


@pytest.mark.parametrize("control", ["hide", "less"])
def test_a_post_that_was_turned_down_is_no_reading_in_the_next_answer(tagged: Any, control: str) -> None:
    read(tagged, "one", "p3")
    read(tagged, "both", "p3", "p7")
    put(tagged, "both", control, "p7")
    assert [each["item_id"] for each in ask(tagged, "/v1/users/both/vector")["readings"]] == ["p3"]
    vector = ask(tagged, "/v1/users/one/vector")["vector"]
    assert ask(tagged, "/v1/users/both/vector")["vector"] == pytest.approx(vector)
    if control == "hide":
        assert feed_of(tagged, "both") == [post for post in feed_of(tagged, "one") if post != "p7"]
    assert all(
        item["reason"]["item_id"] != "p7"
        for item in ask(tagged, "/v1/feed", user_id="both", limit=100)["items"]
    )


def test_less_of_a_post_puts_those_like_it_lower_in_every_provider(tagged: Any) -> None:
    """The reader's own feed, popular and latest, and pages order alike by the formula of the document."""
    user = "fresh"
    before = feed_of(tagged, user)
    put(tagged, user, "less", "p5")
    vectors = tagged.vectors["s1"]
    left = [post for post in before if float(vectors[post] @ vectors["p5"]) < CLOSE]
    near = np.array([float(vectors[post] @ vectors["p5"]) for post in left])
    excess = np.clip((near - near.mean()) / (1 - near.mean()), 0, 1)
    worth = [1 - place / len(left) - STRENGTH * excess[place] for place in range(len(left))]
    expected = sorted(range(len(left)), key=lambda place: -worth[place])
    page = ask(tagged, "/v1/feed", user_id=user, limit=100, explain=True)
    assert [item["id"] for item in page["items"]] == [left[place] for place in expected]
    moved = {item["id"] for item in page["items"] if any(step["step"] == "less" for step in item["explain"])}
    assert moved == {left[place] for rank, place in enumerate(expected) if rank != place}


def test_a_reader_who_wants_less_of_nothing_costs_no_vectors(
    tagged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Embeddings, "of", lambda *_: pytest.fail("embeddings were read"))
    first = ask(tagged, "/v1/feed", user_id="none", limit=3)
    ask(tagged, "/v1/feed", user_id="none", limit=3, cursor=first["next_cursor"])


@given(near=st.lists(st.one_of(st.just(float("nan")), st.floats(-1, 1)), max_size=40))
def test_the_order_is_a_permutation_in_which_nobody_rises_over_one_who_is_less_near(
    near: list[float],
) -> None:
    order = demoted_order(np.array(near))
    assert sorted(order) == list(range(len(near)))
    place = {row: rank for rank, row in enumerate(order)}
    for earlier, later in itertools.combinations(range(len(near)), 2):
        if not near[earlier] > near[later] and not (np.isnan(near[later]) and not np.isnan(near[earlier])):
            assert place[earlier] < place[later]


def test_alike_vectors_all_over_move_no_post() -> None:
    assert demoted_order(np.full(30, 0.9)) == list(range(30))
    assert demoted_order(np.full(30, np.nan)) == list(range(30))
    assert MOST >= 1
