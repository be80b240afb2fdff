"""Slate rules together: what holds of every slate, in whatever order the rules are given."""

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recommender.pipeline_inputs import (
    NO_MODELS,
    FixedEmbeddings,
    Listed,
    candidates_of,
    columns_of,
    found_of,
    listed,
    post,
    query_of,
)

from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.config.schema import (
    AtMost,
    Diversity,
    FirstExposure,
    NearDuplicates,
    NewShare,
    Quotas,
    SlateRule,
)
from nearfeed_recommender.pipeline.candidates import Candidates, Trace
from nearfeed_recommender.pipeline.fuse import Fuser
from nearfeed_recommender.pipeline.slate import Slate

HOUR = 3_600_000_000
NOW = 100 * HOUR
POSTS = st.lists(
    st.tuples(
        st.sampled_from(["c1", "c2", "c3"]),
        st.sampled_from(["ann", "bob", "cy", "di"]),
        st.sampled_from([1, 20, 60]),
        st.booleans(),
        st.tuples(*[st.integers(-2, 2)] * 3),
    ),
    max_size=20,
)
RULES = st.lists(
    st.one_of(
        st.builds(
            AtMost,
            rule=st.just("at_most"),
            of=st.sampled_from(["author", "community"]),
            n=st.integers(1, 3),
            window=st.integers(2, 8),
        ),
        st.builds(NearDuplicates, rule=st.just("near_duplicates"), model=st.just("v")),
        st.builds(Diversity, rule=st.just("mmr"), model=st.just("v"), strength=st.floats(0, 1)),
        st.builds(
            NewShare,
            rule=st.just("new_share"),
            share=st.sampled_from([0.2, 0.5]),
            hours=st.sampled_from([2, 48]),
        ),
        st.builds(
            FirstExposure,
            rule=st.just("first_exposure"),
            source=st.just("newcomers"),
            within=st.integers(1, 10),
        ),
    ),
    max_size=5,
)
Post = tuple[str, str, int, bool, tuple[int, ...]]


def columns_with(posts: Sequence[Post]) -> Columns:
    return columns_of(
        post(f"p{number}", community, author, NOW - age * HOUR)
        for number, (community, author, age, *_) in enumerate(posts)
    )


def candidates_with(columns: Columns, posts: Sequence[Post]) -> Candidates:
    scores = {f"p{number}": 1 / (number + 1) for number in range(len(posts))}
    newcomers = [f"p{number}" for number, each in enumerate(posts) if each[3]]
    return candidates_of(
        columns, scores, {"near": list(scores), "newcomers": newcomers}, ["near", "newcomers"]
    )


def slate_of(rules: Sequence[SlateRule], posts: Sequence[Post]) -> list[Listed]:
    columns = columns_with(posts)
    embeddings = FixedEmbeddings(columns, {f"p{number}": each[4] for number, each in enumerate(posts)})
    slate = Slate(rules, embeddings, NO_MODELS)  # type: ignore[arg-type]
    return listed(columns, slate.apply(query_of(columns, now=NOW), candidates_with(columns, posts)))


def unchanged(posts: Sequence[Post]) -> list[Listed]:
    columns = columns_with(posts)
    return listed(columns, candidates_with(columns, posts))


def most_in_a_window(keys: Sequence[str], window: int) -> int:
    windows = [keys[start : start + window] for start in range(len(keys))]
    return max((max(Counter(each).values()) for each in windows), default=0)


@settings(deadline=None)
@given(rules=RULES, posts=POSTS)
def test_every_slate_holds_its_rules(rules: list[SlateRule], posts: list[Post]) -> None:
    slate = slate_of(rules, posts)
    known = {candidate.item_id: candidate for candidate in unchanged(posts)}
    assert len({one.item_id for one in slate}) == len(slate)
    assert {one.item_id for one in slate} <= known.keys()
    assert slate == slate_of(rules, posts)
    for rule in rules:
        if isinstance(rule, AtMost):
            keys = [posts[int(one.item_id[1:])][rule.of == "author"] for one in slate]
            assert most_in_a_window(keys, rule.window) <= rule.n
    for place, one in enumerate(slate, start=1):
        before = known[one.item_id]
        assert one.score == before.score
        assert one.marks[: len(before.marks)] == before.marks
        added = {mark.step: mark for mark in one.marks[len(before.marks) :]}
        assert added.keys() <= {f"slate:{rule.rule}" for rule in rules}
        assert all(mark.rank == place for step, mark in added.items() if step != "slate:mmr")
        assert one.source == (
            "new"
            if "slate:new_share" in added
            else "newcomers"
            if "slate:first_exposure" in added
            else "near"
        )


@settings(deadline=None)
@given(posts=POSTS, within=st.integers(1, 10), n=st.integers(1, 2), window=st.integers(2, 8))
def test_a_newcomer_is_exposed_under_any_limit(posts: list[Post], within: int, n: int, window: int) -> None:
    rules = [
        FirstExposure(rule="first_exposure", source="newcomers", within=within),
        AtMost(rule="at_most", of="author", n=n, window=window),
        NewShare(rule="new_share", share=0.5, hours=2),
        AtMost(rule="at_most", of="community", n=n, window=window),
    ]
    slate = slate_of(rules, posts)
    assert any("newcomers" in one.found_by for one in slate[:within]) == any(post[3] for post in posts)


@settings(deadline=None)
@given(posts=POSTS)
def test_the_order_of_kinds_of_rules_changes_nothing(posts: list[Post]) -> None:
    rules: list[SlateRule] = [
        AtMost(rule="at_most", of="author", n=1, window=3),
        NearDuplicates(rule="near_duplicates", model="v"),
        Diversity(rule="mmr", model="v"),
        NewShare(rule="new_share", share=0.2),
    ]
    wanted = slate_of(rules, posts)
    assert all(slate_of(order, posts) == wanted for order in permutations(rules))


def test_without_rules_nothing_changes() -> None:
    posts: list[Post] = [("c1", "ann", 1, True, (1, 0, 0))] * 3
    assert slate_of([], posts) == unchanged(posts)


@pytest.mark.parametrize(("age", "is_new"), [(48, True), (49, False)])
def test_a_post_is_new_for_as_many_hours_as_the_rule_says(age: int, is_new: bool) -> None:
    posts: list[Post] = [("c1", "ann", 90, False, (0, 0, 0))] * 3 + [("c1", "ann", age, False, (0, 0, 0))]
    slate = slate_of([NewShare(rule="new_share", share=0.5, hours=48)], posts)
    assert [one.item_id for one in slate] == (
        ["p0", "p3", "p1", "p2"] if is_new else ["p0", "p1", "p2", "p3"]
    )
    assert [one.source for one in slate].count("new") == is_new


@settings(deadline=None)
@given(ages=st.lists(st.sampled_from([1, 60]), max_size=40), depth=st.integers(0, 40))
def test_a_personal_feed_with_every_fifth_place_for_new_posts(ages: list[int], depth: int) -> None:
    """Sources without a share follow those with one, so that `new` adds what the first source had not."""
    columns = columns_of(post(f"p{n}", at=NOW - age * HOUR) for n, age in enumerate(ages))
    ranked = [(f"p{n}", 1 - n / 100) for n in range(len(ages))]
    found = {
        "personal": ranked[:depth],
        "new": [hit for hit, age in zip(ranked, ages, strict=True) if age == 1],
    }
    fuser = Fuser(Quotas(type="quotas", shares={"personal": 1}), ["personal", "new"], [1.0, 1.0])
    blended = fuser.fuse({name: found_of(columns, hits) for name, hits in found.items()}, columns, Trace())
    rule = NewShare(rule="new_share", share=0.2, hours=48)
    slate = listed(
        columns,
        Slate([rule], FixedEmbeddings(columns, {}), NO_MODELS).apply(  # type: ignore[arg-type]
            query_of(columns, now=NOW), blended
        ),
    )
    wanted: list[tuple[str, str]] = []
    while True:
        placed = [item for item, _ in wanted]
        usual = [item for item, _ in found["personal"] if item not in placed]
        new = [item for item, _ in found["new"] if item not in placed]
        if new and len(wanted) % 5 == 4:
            wanted.append((new[0], "new"))
        elif usual:
            wanted.append((usual[0], "personal"))
        else:
            break
    assert [(one.item_id, one.source) for one in slate[: len(wanted)]] == wanted
    assert {one.source for one in slate[len(wanted) :]} <= {"new"}
