"""A search gives the best posts that a user may see, whatever the store has and knows."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.recommender.users.audiences import START, Audience, audiences, empty_state, interaction

from nearfeed_backends.opening import open_store
from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import Filter, Hits, StoredVector, VectorStore
from nearfeed_recommender.catalog.columns import Columns, PostFacts, Rows
from nearfeed_recommender.config.schema import LanguageFilter
from nearfeed_recommender.pipeline import search as search_module
from nearfeed_recommender.pipeline.candidates import Found
from nearfeed_recommender.pipeline.search import FilteredSearch, MaskedSearch, first_eligible, open_search
from nearfeed_recommender.users.eligibility import Eligibility, Wish
from nearfeed_recommender.users.memberships import Controls

DIM = 3


def vector(seed: int) -> VectorArray:
    return np.random.default_rng(seed).normal(size=DIM).astype(np.float32)


def store_of(posts: list[PostFacts], url: str = "memory://") -> VectorStore:
    store = open_store(url)
    store.create_space("s", DIM)
    store.upsert("s", [stored(post) for post in posts])
    return store


def stored(post: PostFacts) -> StoredVector:
    own = vector(int(post.item_id[1:]))
    return StoredVector(post.item_id, post.community_id, post.author_id, post.published_at or START, own)


def best(allowed: list[PostFacts], asked: VectorArray, limit: int) -> list[str]:
    scores = {post.item_id: float(vector(int(post.item_id[1:])) @ asked) for post in allowed}
    return sorted(scores, key=lambda item: -scores[item])[:limit]


@pytest.fixture(scope="module")
def masked_url(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Each time the URL of a store in a folder of its own whose rows can be chosen."""
    return lambda: f"faiss://{tmp_path_factory.mktemp('vectors')}"


class Fetched:
    """The vectors of a store, asked for each time."""

    def __init__(self, store: VectorStore, columns: Columns) -> None:
        self._store, self._columns = store, columns

    def of(self, space: str, rows: Rows) -> dict[int, VectorArray]:
        found = self._store.fetch(space, [self._columns.ids[row] for row in rows.tolist()])
        return {int(self._columns.rows_of([item])[0]): vector for item, vector in found.items()}


def filtered_search(store: VectorStore, eligible: Eligibility, in_process: bool) -> FilteredSearch:
    kept: Any = Fetched(store, eligible.state.columns)
    return FilteredSearch(store, kept, in_process)


class Limits(NamedTuple):
    """From how many excluded posts on a server is asked in another way, and how many it is asked for then."""

    in_process: bool
    excluded: int = 1_000
    named: int = 2_000
    compared: int = 500
    hits: int = 10_000


WAYS = (
    Limits(True),
    Limits(True, hits=1),
    Limits(False),
    Limits(False, compared=0),
    Limits(False, compared=2, hits=1),
    Limits(False, excluded=0),
    Limits(False, excluded=0, named=3, compared=0),
    Limits(False, excluded=0, named=0, compared=0),
)


@pytest.fixture(params=WAYS, ids=str)
def search_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Each way of searching; whether the store is in this process."""
    limits: Limits = request.param
    monkeypatch.setattr(search_module, "_MOST_EXCLUDED", limits.excluded)
    monkeypatch.setattr(search_module, "_MOST_NAMED", limits.named)
    monkeypatch.setattr(search_module, "_MOST_COMPARED", limits.compared)
    monkeypatch.setattr(search_module, "_MOST_HITS", limits.hits)
    monkeypatch.setattr(search_module, "_ASKED_MORE", 4 if limits.hits > 1 else 1)
    return limits.in_process


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    audience=audiences(),
    limit=st.integers(1, 4),
    seed=st.integers(0, 9),
    lacks=st.sets(st.integers(0, 9), max_size=3),
)
def test_the_best_posts_that_may_be_shown_are_found(
    search_in: bool, audience: Audience, limit: int, seed: int, lacks: set[int]
) -> None:
    """The store lacks some posts, and still has those that were deleted."""
    posts = [post for post in audience.posts if int(post.item_id[1:]) not in lacks]
    eligible, asked = audience.eligibility(), vector(100 + seed)
    found = filtered_search(store_of(posts), eligible, search_in).nearest("s", asked, eligible, limit)
    _are_the_best(found, [post for post in posts if audience.allows(post)], eligible, asked, limit)


@settings(max_examples=50, deadline=None)
@given(
    audience=audiences(),
    limit=st.integers(1, 4),
    seed=st.integers(0, 9),
    lacks=st.sets(st.integers(0, 9), max_size=3),
    again=st.sets(st.integers(0, 9), max_size=3),
)
def test_a_store_whose_rows_are_chosen_finds_them_too(
    masked_url: Callable[[], str], audience: Audience, limit: int, seed: int, lacks: set[int], again: set[int]
) -> None:
    """The same search sees what is deleted and written again between two questions."""
    posts = [post for post in audience.posts if int(post.item_id[1:]) not in lacks]
    with closing(store_of(posts, masked_url())) as store:
        eligible, asked = audience.eligibility(), vector(100 + seed)
        kept: Any = Fetched(store, eligible.state.columns)
        search = open_search(store, kept, in_process=True)
        assert isinstance(search, MaskedSearch)
        allowed = [post for post in posts if audience.allows(post)]
        _are_the_best(search.nearest("s", asked, eligible, limit), allowed, eligible, asked, limit)
        store.delete("s", [f"p{number}" for number in again])
        left = [post for post in allowed if int(post.item_id[1:]) not in again]
        _are_the_best(search.nearest("s", asked, eligible, limit), left, eligible, asked, limit)
        store.upsert("s", [stored(post) for post in audience.posts])
        whole = [post for post in audience.posts if audience.allows(post)]
        _are_the_best(search.nearest("s", asked, eligible, limit), whole, eligible, asked, limit)
        store.drop_space("s")
        store.create_space("s", DIM)
        store.upsert("s", [stored(post) for post in reversed(left)])
        _are_the_best(search.nearest("s", asked, eligible, limit), left, eligible, asked, limit)


def _are_the_best(
    found: Found, allowed: list[PostFacts], eligible: Eligibility, asked: VectorArray, limit: int
) -> None:
    expected = best(allowed, asked, limit)
    assert [eligible.state.columns.ids[row] for row in found.rows.tolist()] == expected
    scores = [float(vector(int(item[1:])) @ asked) for item in expected]
    assert found.scores.tolist() == pytest.approx(scores, rel=1e-5, abs=1e-6)


class LongFilterError(Exception):
    pass


class ServerStore:
    """A store that refuses a long list of excluded posts, and counts what it is asked."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self.asked: list[int] = []

    def search(self, space: str, vector: VectorArray, k: int, where: Filter) -> Hits:
        if len(where.exclude_item_ids) > 1_000:
            raise LongFilterError
        self.asked.append(k)
        return self._store.search(space, vector, k, where)


def crowd(count: int) -> tuple[Columns, list[PostFacts]]:
    columns = Columns()
    posts = [
        PostFacts(
            f"p{n}", 1, f"c{n % 2}", f"a{n % 5}", ("t",) if n % 3 else (), "en" if n % 4 else "de", START + n
        )
        for n in range(count)
    ]
    columns.put(posts)
    return columns, posts


@pytest.mark.parametrize("in_process", [True, False])
@pytest.mark.parametrize(
    "seen", [range(0, 4_500), range(0, 5_000), [n for n in range(5_000) if n % 10 < 3], range(0, 1_200)]
)
def test_thousands_of_seen_posts_are_left_out(seen: "range | list[int]", in_process: bool) -> None:
    """Few posts are left, none, or most: a server is never asked with the long list."""
    columns, posts = crowd(5_000)
    state = empty_state(columns).with_events([interaction(f"p{n}", "read", 0) for n in seen])
    eligible = Eligibility(state, Wish(), ("seen", "own"))
    store = store_of(posts)
    asked = vector(7)
    used: Any = store if in_process else ServerStore(store)
    found = filtered_search(used, eligible, in_process).nearest("s", asked, eligible, 50)
    met = set(seen)
    expected = best([post for n, post in enumerate(posts) if n not in met], asked, 50)
    assert [columns.ids[row] for row in found.rows.tolist()] == expected


@pytest.mark.parametrize("in_process", [True, False])
def test_what_a_store_cannot_filter_is_made_up_for(in_process: bool) -> None:
    """Two of three posts have a muted tag, three of four the wrong language, and half is deleted."""
    columns, posts = crowd(600)
    columns.put([PostFacts(f"p{n}", 2) for n in range(0, 600, 2)])
    state = replace(empty_state(columns), controls=Controls(tags=frozenset(["t"])))
    eligible = Eligibility(state, Wish(), (LanguageFilter(language=("en",)),))
    asked = vector(8)
    left = [post for n, post in enumerate(posts) if n % 2 and n % 3 == 0 and n % 4]
    search, others = filtered_search(store_of(posts), eligible, in_process), [vector(9), vector(10)]
    found = search.nearest_to_each("s", [asked, *others], eligible, 20)
    assert len(found) == 3
    for each, own in zip(found, [asked, *others], strict=True):
        assert len(each.rows) == 20
        assert [columns.ids[row] for row in each.rows.tolist()] == best(left, own, 20)


@settings(max_examples=80, deadline=None)
@given(audience=audiences(), picked=st.lists(st.integers(-1, 9), max_size=15), limit=st.integers(0, 5))
def test_the_first_eligible_of_a_list_stand_once_with_their_scores(
    audience: Audience, picked: list[int], limit: int
) -> None:
    eligible = audience.eligibility()
    columns = eligible.state.columns
    known = {columns.row_of(post.item_id): post for post in audience.posts}
    rows = np.array([-1 if n < 0 else columns.row_of(f"p{n}") for n in picked], np.int32)
    scores = np.arange(len(rows), dtype=np.float64)
    found = first_eligible(rows, scores, eligible, limit)
    expected = [
        (row, float(place))
        for place, row in enumerate(rows.tolist())
        if row in known and audience.allows(known[row]) and row not in rows[:place].tolist()
    ]
    assert list(zip(found.rows.tolist(), found.scores.tolist(), strict=True)) == expected[:limit]
