"""A search in Lucene's syntax finds what an oracle in plain Python finds, and says where it is at fault."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.recommender.conftest import World

from nearfeed_contracts.fields import to_micros
from nearfeed_recommender.graphql.fields import ArgumentError
from nearfeed_recommender.graphql.lucene import condition_of
from nearfeed_recommender.graphql.queries import found_posts
from nearfeed_recommender.graphql.times import span_of
from nearfeed_runtime.sql import read_connection


@dataclass(frozen=True)
class Written:
    """A post of the oracle."""

    title: str
    body: str = ""
    tags: tuple[str, ...] = ()
    community: str = "films"
    author: str = "ann"
    language: str | None = None
    published_at: str = "2020-06-15T12:00:00Z"


POSTS = [
    Written("Toy Story", "toys that live", ("Comedy", "Children"), "films", "films-of-1995", "en"),
    Written("100% pure_fun (1995)", "", ("Dark Comedy",), "Films", "Ann", "EN", "2019-12-31T23:59:59Z"),
    Written("ÉTÉ à Paris", "l'été", ("Drame", "a,b"), "cinéma", "ann", "fr", "2021-01-01T00:00:00Z"),
    Written("좋은 이야기", "재미있는 영화", ("영화",), "영화", "민수", "ko"),
    Written('Say "wow" \\ back!', "50 of 100", ('a"b', "c\\d"), "films", "bob"),
    Written("toy", "Story", (), "films", "bob", "en", "2020-02-29T08:30:00Z"),
]
Predicate = Callable[[Written], bool]
Query = tuple[str, Predicate]

TEXTS = {"title": lambda post: post.title, "body": lambda post: post.body}
VALUES: dict[str, Callable[[Written], list[str]]] = {
    "tags": lambda post: list(post.tags),
    "community": lambda post: [post.community],
    "author": lambda post: [post.author],
    "language": lambda post: [post.language] if post.language else [],
}
SPECIAL = re.compile(r"""([+\-!(){}\[\]^"'~*?:\\/&|<> ])""")


def predicate(field: str | None, regex: str) -> Predicate:
    pattern = re.compile(regex, re.IGNORECASE | re.DOTALL)
    if field is None:
        return lambda post: any(pattern.search(text(post)) for text in TEXTS.values())
    if field in TEXTS:
        return lambda post: bool(pattern.search(TEXTS[field](post)))
    return lambda post: any(pattern.fullmatch(value) for value in VALUES[field](post))


FIELD = st.sampled_from([None, *TEXTS, *VALUES])
PIECE = st.one_of(
    st.sampled_from(
        ["toy", "STORY", "com", "Comedy", "100%", "_", "été", "É", "이야기", "영화", "films", "en", '"']
    ),
    st.sampled_from(["*", "?"]),
    st.text(st.sampled_from("abETys01%_!\\\"'(é이"), min_size=1, max_size=2),
)


@st.composite
def words(draw: st.DrawFn) -> Query:
    field, pieces = draw(FIELD), draw(st.lists(PIECE, min_size=1, max_size=4))
    wildcards = {"*": ".*", "?": "."}
    text = "".join(piece if piece in wildcards else SPECIAL.sub(r"\\\1", piece) for piece in pieces)
    regex = "".join(wildcards.get(piece) or re.escape(piece) for piece in pieces)
    return f"{field}:{text}" if field else text, predicate(field, regex)


@st.composite
def phrases(draw: st.DrawFn) -> Query:
    field, text = (
        draw(FIELD),
        draw(st.sampled_from(["toy story", "dark comedy", "100% p", "a*b", 'say "wow"', "\\"])),
    )
    quoted = '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    return f"{field}:{quoted}" if field else quoted, predicate(field, re.escape(text))


def joined(queries: tuple[Query, Query, str]) -> Query:
    (left, says), (right, too), operator = queries
    if operator == "AND":
        return f"({left} AND {right})", lambda post: says(post) and too(post)
    return f"({left} {operator} {right})", lambda post: says(post) or too(post)


def negated(query: Query) -> Query:
    return f"(NOT {query[0]})", lambda post: not query[1](post)


def clauses(queries: list[tuple[str, Query]]) -> Query:
    must = [says for mark, (_, says) in queries if mark == "+"]
    must_not = [says for mark, (_, says) in queries if mark == "-"]
    should = [says for mark, (_, says) in queries if not mark]

    def matches(post: Written) -> bool:
        wanted = (
            all(says(post) for says in must) if must else not should or any(says(post) for says in should)
        )
        return wanted and not any(says(post) for says in must_not)

    return "(" + " ".join(f"{mark}{text}" for mark, (text, _) in queries) + ")", matches


QUERIES = st.recursive(
    words() | phrases(),
    lambda inner: st.one_of(
        st.tuples(inner, inner, st.sampled_from(["AND", "OR", ""])).map(joined),
        inner.map(negated),
        st.lists(st.tuples(st.sampled_from(["", "+", "-"]), inner), min_size=2, max_size=4).map(clauses),
    ),
    max_leaves=6,
)


@pytest.fixture
def written(world: World) -> World:
    for number, post in enumerate(POSTS):
        world.put_post(
            f"p{number}",
            post.community,
            title=post.title,
            body=post.body,
            tags=post.tags,
            author_id=post.author,
            language=post.language,
            published_at=post.published_at,
        )
    world.put_post("gone", "films", title="Toy Story")
    world.client.delete("/v1/items/gone")
    return world


def find(world: World, search: str) -> set[int]:
    with read_connection(world.engine) as connection:
        found = found_posts(connection, condition_of(search, world.engine.dialect.name), 100)
    return {int(item.removeprefix("p")) for item in found}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES)
def test_a_search_finds_what_the_oracle_finds(written: World, query: Query) -> None:
    search, says = query
    assert find(written, search) == {number for number, post in enumerate(POSTS) if says(post)}, search


BY_HAND: list[tuple[str, set[int]]] = [
    ("published_at:2020", {0, 3, 4, 5}),
    ("publishedAt:2020-02", {5}),
    ("published_at:[2020-01-01 TO 2020-12-31]", {0, 3, 4, 5}),
    ("published_at:[2019-12-31 TO 2020-02-29}", {1}),
    ("published_at:{2019 TO *]", {0, 2, 3, 4, 5}),
    ("published_at:[* TO 2019]", {1}),
    ("published_at:>=2021", {2}),
    ("published_at:>2021-01-01T00:00:00Z", set()),
    ("published_at:<2020", {1}),
    ('published_at:<="2020-02-29T08:30:00+00:00"', {1, 5}),
    ('published_at:"2020-02-29T17:30:00+09:00"', {5}),
    ("published_at:*", {0, 1, 2, 3, 4, 5}),
    ("language:*", {0, 1, 2, 3, 5}),
    ("NOT language:en", {2, 3, 4}),
    ("tags:(comedy OR drame) AND NOT community:films", {2}),
    ("title:toy title:story", {0, 5}),
    ("toy AND story", {0, 5}),
]


def test_searches_by_hand(written: World) -> None:
    for search, found in BY_HAND:
        assert find(written, search) == found, search


@pytest.mark.parametrize(
    ("search", "fault"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("toy AND", "ends too early"),
        ("(toy", "ends too early"),
        ("AND toy", "'AND' is not expected, at character 1"),
        ("toy )", "')' is not expected, at character 5"),
        ("year:1995", "there is no field 'year'; there are title, body, tags"),
        ("toy AND (year:1995)", "at character 10"),
        ("toy~2", "fuzzy is not supported"),
        ('"toy story"~2', "proximity is not supported"),
        ("toy^2", "boost is not supported"),
        ("/to./", "regex is not supported"),
        ("title:[a TO b]", "a range needs the field published_at, at character 7"),
        (">=2020", "a range needs the field published_at"),
        ("published_at:soon", "soon is no time"),
        ("published_at:20?0", "20?0 is no time"),
        ("published_at:2020-02-30", "2020-02-30 is no time"),
        ("published_at:2020-01-01T00:00:00", "is no time"),
        ("published_at:[2020 TO soon]", "soon is no time"),
        ("published_at:[-5 TO 2020]", "a bound of a range is no time"),
        ("a && b", "'&&' is no operator here; write AND, OR and NOT, at character 3"),
        ("a || b", "'||' is no operator here"),
        ("!a", "'!a' is no operator here"),
        ("x" * 1_001, "more than 1,000 characters"),
        (" ".join("x" * 51), "more than 50 words"),
        ("(" * 400 + "x" + ")" * 400, "nested more than 20 deep"),
        ("NOT " * 200 + "x", "nested more than 20 deep"),
    ],
)
def test_faults_name_the_argument_and_the_place(search: str, fault: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(fault)) as raised:
        condition_of(search, "sqlite")
    assert str(raised.value).startswith("search: ")
    assert raised.value.extensions == {"argument": "search"}


@given(search=st.text(st.sampled_from(' ab:*?"\\()[]{}+-!&|^~/<>=TOANDR0é\x00\n'), max_size=30))
def test_any_text_is_a_condition_or_a_fault(search: str) -> None:
    with suppress(ArgumentError):
        condition_of(search, "sqlite")


@given(moment=st.datetimes(datetime(1, 1, 1), datetime(9998, 12, 31)), length=st.sampled_from([4, 7, 10]))
def test_a_moment_lies_within_its_year_month_and_day(moment: datetime, length: int) -> None:
    bounds = span_of(moment.isoformat()[:length])
    assert bounds is not None
    inside = to_micros(moment.replace(tzinfo=UTC))
    assert bounds.start <= inside < bounds.end
    exact = span_of(f"{moment.isoformat()}Z")
    assert exact == (inside, inside + 1)
