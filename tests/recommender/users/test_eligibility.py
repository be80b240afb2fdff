"""Eligibility: against a loop over single posts; some filters hold whether they are named or not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recommender.pipeline_inputs import NO_CONTROLS, NO_WISH, columns_of, post, state_of

from nearfeed_contracts.events import Interaction, Kind
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.vector_store import Filter as SearchFilter
from nearfeed_recommender.catalog.columns import PostFacts
from nearfeed_recommender.config.schema import DEFAULT_FILTERS, Filter, LanguageFilter, NamedFilter
from nearfeed_recommender.users.eligibility import Eligibility, Wish, is_in
from nearfeed_recommender.users.memberships import Controls

ALWAYS = ("blocked", "hidden_topic")
SEEN: Kind = "read"
EXCLUDED: Kind = "hide"

ids, authors = st.sampled_from(["p1", "p2", "p3", "p4"]), st.sampled_from(["me", "ann", "bob"])
communities, tags = st.sampled_from(["c1", "c2"]), st.sampled_from(["spoiler", "cats"])
ENGLISH = LanguageFilter(language=("en", "de"))


@dataclass(frozen=True)
class Audience:
    """A user as these tests draw one: what they have met, turned down, joined, set and asked for."""

    user_id: str = "me"
    seen: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()
    controls: Controls = NO_CONTROLS
    wish: Wish = NO_WISH

    def allows(self, facts: PostFacts | None, filters: Sequence[Filter]) -> bool:
        """The rules, one by one, for one post."""
        if facts is None:
            return False
        wanted = self.wish.communities
        mine = (self.joined & wanted if self.joined and wanted else self.joined or wanted) or None
        if self.joined and wanted and not self.joined & wanted:
            mine = frozenset()
        if "membership" not in filters:
            mine = wanted or None
        after = self.wish.published_after
        return (
            (mine is None or facts.community_id in mine)
            and ("date" not in filters or after is None or (facts.published_at or 0) >= after)
            and ("seen" not in filters or facts.item_id not in self.seen)
            and ("own" not in filters or facts.author_id != self.user_id)
            and facts.item_id not in self.excluded | self.controls.items
            and facts.author_id not in self.controls.authors
            and self.controls.tags.isdisjoint(facts.tags)
            and all(
                is_in(rule.language, facts.language) for rule in filters if isinstance(rule, LanguageFilter)
            )
        )

    def eligibility(self, posts: Iterable[PostFacts], filters: Sequence[Filter]) -> Eligibility:
        columns = columns_of(posts)
        met = [(item, SEEN) for item in self.seen] + [(item, EXCLUDED) for item in self.excluded]
        events = [
            Interaction(user_id=self.user_id, item_id=item, kind=kind, occurred_at=from_micros(1))
            for item, kind in met
        ]
        state = state_of(columns, events, self.joined, self.controls, self.user_id)
        return Eligibility(state, self.wish, tuple(filters))


FACTS = st.lists(
    st.builds(
        post,
        item_id=ids,
        community_id=communities,
        author_id=authors,
        at=st.integers(0, 5),
        tags=st.lists(tags, max_size=2).map(tuple),
        language=st.sampled_from([None, "en", "de-AT", "fr"]),
    ),
    unique_by=lambda facts: facts.item_id,
).map(lambda posts: {facts.item_id: facts for facts in posts})
CONTROLS = st.builds(
    Controls, authors=st.frozensets(authors), tags=st.frozensets(tags), items=st.frozensets(ids)
)
AUDIENCES = st.builds(
    lambda seen, excluded, **rest: Audience(seen=seen | excluded, excluded=excluded, **rest),
    seen=st.frozensets(ids),
    excluded=st.frozensets(ids, max_size=1),
    joined=st.frozensets(communities),
    controls=CONTROLS,
    wish=st.builds(
        Wish, communities=st.frozensets(communities), published_after=st.none() | st.integers(0, 5)
    ),
)
FILTERS = st.lists(st.sampled_from([*DEFAULT_FILTERS, ENGLISH]), unique=True)
ORDER = ["p3", "p1", "p4", "p2"]
EVERYBODY = Audience()
POST = post("p1", "c1", "ann", 3, tags=("cats",), language="en")
REFUSING: dict[NamedFilter, Audience] = {
    "membership": replace(EVERYBODY, joined=frozenset({"c2"})),
    "date": replace(EVERYBODY, wish=Wish(published_after=4)),
    "seen": replace(EVERYBODY, seen=frozenset({"p1"})),
    "own": replace(EVERYBODY, user_id="ann"),
    "blocked": replace(EVERYBODY, controls=Controls(authors=frozenset({"ann"}))),
    "hidden_topic": replace(EVERYBODY, controls=Controls(tags=frozenset({"cats"}))),
}


def kept(posts: Mapping[str, PostFacts], filters: Sequence[Filter], audience: Audience) -> list[str]:
    """Those of ORDER that may be shown, by both ways to ask for them."""
    eligible = audience.eligibility(posts.values(), filters)
    columns = eligible.state.columns
    rows = columns.reserve(ORDER)
    allowed = rows[eligible.allows(rows)]
    assert eligible.first(rows, 2).tolist() == allowed[:2].tolist()
    return [columns.ids[row] for row in allowed]


@settings(deadline=None)
@given(facts=FACTS, audience=AUDIENCES, filters=FILTERS)
def test_the_filters_are_what_the_audience_allows(
    facts: dict[str, PostFacts], audience: Audience, filters: list[Filter]
) -> None:
    for named in (filters, DEFAULT_FILTERS):
        allowed = [item for item in ORDER if audience.allows(facts.get(item), named)]
        assert kept(facts, named, audience) == allowed


@settings(deadline=None)
@given(facts=FACTS, audience=AUDIENCES, filters=FILTERS, without=st.frozensets(ids), since=st.integers(0, 6))
def test_posts_that_are_left_out_and_a_time_are_added_to_the_filters(
    facts: dict[str, PostFacts],
    audience: Audience,
    filters: list[Filter],
    without: frozenset[str],
    since: int,
) -> None:
    eligible = audience.eligibility(facts.values(), filters)
    columns = eligible.state.columns
    rows = columns.reserve(ORDER)
    usual = [item for item in ORDER if audience.allows(facts.get(item), filters)]
    narrowed = eligible.excluding(columns.reserve(sorted(without)))
    found = [columns.ids[row] for row in rows[narrowed.allows(rows)]]
    assert found == [item for item in usual if item not in without]
    later = [item for item in usual if (facts[item].published_at or 0) >= since]
    assert [columns.ids[row] for row in rows[eligible.since(since).allows(rows)]] == later
    assert len(eligible.newest_since(since, 1)) == min(1, len(later))


@settings(deadline=None)
@given(facts=FACTS, audience=AUDIENCES, filters=FILTERS)
def test_a_search_filter_refuses_nothing_that_may_be_shown_and_all_but_topics_and_languages(
    facts: dict[str, PostFacts], audience: Audience, filters: list[Filter]
) -> None:
    where = audience.eligibility(facts.values(), filters).search_filter
    known = replace(audience, controls=replace(audience.controls, tags=frozenset()))
    named = [rule for rule in filters if not isinstance(rule, LanguageFilter)]
    passing = {item for item, each in facts.items() if passes(where, each)}
    assert passing == {item for item, each in facts.items() if known.allows(each, named)}


def passes(where: SearchFilter, facts: PostFacts) -> bool:
    return (
        (where.community_ids is None or facts.community_id in where.community_ids)
        and (where.published_after is None or (facts.published_at or 0) >= where.published_after)
        and facts.item_id not in where.exclude_item_ids
        and facts.author_id not in where.exclude_author_ids
    )


@pytest.mark.parametrize("refusing", DEFAULT_FILTERS)
@pytest.mark.parametrize(
    "named", [set(names) for size in (0, 1, 6) for names in combinations(DEFAULT_FILTERS, size)]
)
def test_a_filter_holds_where_it_is_named_or_must_hold(
    refusing: NamedFilter, named: set[NamedFilter]
) -> None:
    found = kept({"p1": POST}, tuple(named), REFUSING[refusing])
    assert bool(found) == (refusing not in named and refusing not in ALWAYS)


def test_deleted_posts_and_those_that_the_reader_refused_never_pass() -> None:
    assert kept({}, (), EVERYBODY) == []
    assert kept({"p1": PostFacts("p1", 2)}, (), EVERYBODY) == []
    hidden = replace(EVERYBODY, seen=frozenset({"p1"}), excluded=frozenset({"p1"}))
    less = replace(EVERYBODY, controls=Controls(items=frozenset({"p1"})))
    assert kept({"p1": POST}, (), hidden) == kept({"p1": POST}, (), less) == []


@pytest.mark.parametrize(
    ("language", "passes"),
    [
        (None, True),
        ("en", True),
        ("EN-gb", True),
        ("de", False),
        ("de-AT", True),
        ("de-AT-1996", True),
        ("eng", False),
    ],
)
def test_languages(language: str | None, passes: bool) -> None:
    rule = LanguageFilter(language=("en", "de-at"))
    assert bool(kept({"p1": POST._replace(language=language)}, (rule,), EVERYBODY)) == passes


def test_the_first_that_may_be_shown_are_found_however_many_may_not() -> None:
    columns = columns_of(
        post(f"p{number}", author_id="me" if number % 97 else "ann") for number in range(3_000)
    )
    eligible = Eligibility(state_of(columns), Wish(), ("own",))
    rows = np.arange(3_000, dtype=np.int32)[::-1]
    assert eligible.first(rows, 20).tolist() == [row for row in rows.tolist() if row % 97 == 0][:20]


def test_what_a_reader_has_hidden_or_rated_low_is_read_as_excluded(served: Any) -> None:
    events = [
        {"user_id": "me", "item_id": "p1", "kind": "read"},
        {"user_id": "me", "item_id": "p2", "kind": "hide"},
        {"user_id": "me", "item_id": "p3", "kind": "rating", "value": 1},
    ]
    assert served.client.post("/v1/events", json={"events": events}).status_code == 202
    served.settle()
    state = served.answers.feed.hydrator.query("me").state
    ids = state.columns.ids
    assert {ids[row] for row in state.seen} == {"p1", "p2", "p3"}
    assert {ids[row] for row in state.unwanted} == {"p2", "p3"}


def test_a_language_is_that_of_the_post_as_it_is_now(served: Any) -> None:
    def shown(**more: Any) -> dict[str, Any]:
        return dict(served.client.get("/v1/feed", params={"user_id": "me", "limit": 3, **more}).json())

    for number in range(20):
        served.put_post(f"p{number}", f"c{number % 2}", language="en")
    filters = [*DEFAULT_FILTERS, {"language": ["en"]}]
    config = {
        "feed": "latest",
        "models": {},
        "providers": {"latest": {"sources": {"latest": {"type": "latest"}}, "filters": filters}},
    }
    stated = {"author": "tester", "reason": "a test"}
    answer = served.client.put("/v1/admin/config", params=stated, json=config)
    assert answer.status_code == 200, answer.text
    first = shown()
    second = [item["id"] for item in shown(cursor=first["next_cursor"])["items"]]
    moved = [first["items"][0]["id"], second[0]]
    for item in moved:
        served.put_post(item, f"c{int(item[1:]) % 2}", language="de")
    assert [item["id"] for item in shown(cursor=first["next_cursor"])["items"]][:2] == second[1:]
    assert moved[0] not in [item["id"] for item in shown()["items"]]
