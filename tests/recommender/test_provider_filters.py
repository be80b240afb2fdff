"""Filters: with all of them what an audience allows; some hold whether named or not."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_recommender.config.schema import DEFAULT_FILTERS, LanguageFilter, NamedFilter
from nearfeed_recommender.posts import Audience, audience_of
from nearfeed_recommender.providers.candidates import Candidate, Facts
from nearfeed_recommender.providers.filters import keep
from nearfeed_recommender.readers.memberships import Controls
from nearfeed_runtime.sql import reading

ALWAYS = ("blocked", "hidden_topic")

ids, authors = st.sampled_from(["p1", "p2", "p3", "p4"]), st.sampled_from(["me", "ann", "bob"])
communities, tags = st.sampled_from(["c1", "c2"]), st.sampled_from(["spoiler", "cats"])
FACTS = st.dictionaries(
    ids,
    st.builds(
        Facts,
        community_id=communities,
        author_id=authors,
        published_at=st.integers(0, 5),
        tags=st.lists(tags, max_size=2).map(tuple),
        language=st.sampled_from([None, "en", "de-AT"]),
    ),
)
CONTROLS = st.builds(
    Controls, authors=st.frozensets(authors), tags=st.frozensets(tags), items=st.frozensets(ids)
)
AUDIENCES = st.builds(
    lambda seen, excluded, **rest: Audience(user_id="me", seen=seen | excluded, excluded=excluded, **rest),
    communities=st.none() | st.frozensets(communities),
    published_after=st.none() | st.integers(0, 5),
    seen=st.frozensets(ids),
    excluded=st.frozensets(ids, max_size=1),
    controls=CONTROLS,
)
CANDIDATES = [Candidate(f"p{number}", 1.0, "near") for number in (3, 1, 4, 2)]
EVERYBODY = Audience("me", None, None, frozenset(), Controls())
POST = Facts("c1", "ann", 3, ("cats",), "en")
REFUSING: dict[NamedFilter, Audience] = {
    "membership": replace(EVERYBODY, communities=frozenset({"c2"})),
    "date": replace(EVERYBODY, published_after=4),
    "seen": replace(EVERYBODY, seen=frozenset({"p1"})),
    "own": replace(EVERYBODY, user_id="ann"),
    "blocked": replace(EVERYBODY, controls=Controls(authors=frozenset({"ann"}))),
    "hidden_topic": replace(EVERYBODY, controls=Controls(tags=frozenset({"cats"}))),
}


@settings(deadline=None)
@given(facts=FACTS, audience=AUDIENCES)
def test_all_named_filters_are_what_the_audience_allows(facts: dict[str, Facts], audience: Audience) -> None:
    allowed = [
        candidate
        for candidate in CANDIDATES
        if (post := facts.get(candidate.item_id)) and audience.allows(candidate.item_id, post)
    ]
    assert keep(CANDIDATES, facts, DEFAULT_FILTERS, audience) == allowed


@pytest.mark.parametrize("refusing", DEFAULT_FILTERS)
@pytest.mark.parametrize(
    "named", [set(names) for size in (0, 1, 6) for names in combinations(DEFAULT_FILTERS, size)]
)
def test_a_filter_holds_where_it_is_named_or_must_hold(
    refusing: NamedFilter, named: set[NamedFilter]
) -> None:
    kept = keep([CANDIDATES[1]], {"p1": POST}, tuple(named), REFUSING[refusing])
    assert bool(kept) == (refusing not in named and refusing not in ALWAYS)


def test_deleted_posts_and_those_that_the_reader_refused_never_pass() -> None:
    assert keep(CANDIDATES, {}, (), EVERYBODY) == []
    hidden = replace(EVERYBODY, seen=frozenset({"p1"}), excluded=frozenset({"p1"}))
    less = replace(EVERYBODY, controls=Controls(items=frozenset({"p1"})))
    assert keep(CANDIDATES, {"p1": POST}, (), hidden) == keep(CANDIDATES, {"p1": POST}, (), less) == []


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
    assert bool(keep([CANDIDATES[1]], {"p1": replace(POST, language=language)}, (rule,), EVERYBODY)) == passes


def test_what_a_reader_has_hidden_or_rated_low_is_read_as_excluded(served: Any) -> None:
    events = [
        {"user_id": "me", "item_id": "p1", "kind": "read"},
        {"user_id": "me", "item_id": "p2", "kind": "hide"},
        {"user_id": "me", "item_id": "p3", "kind": "rating", "value": 1},
    ]
    assert served.client.post("/v1/events", json={"events": events}).status_code == 202
    served.settle()
    with reading(served.engine) as connection:
        audience = audience_of(connection, "me", frozenset(), None)
    assert audience.seen == {"p1", "p2", "p3"}
    assert audience.excluded == {"p2", "p3"}


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
