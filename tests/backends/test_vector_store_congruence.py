"""The same random vectors, filters, upserts and deletions through a store and through the exact one."""

import uuid
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vector_servers import milvus_url, opensearch_url

from nearfeed_backends.embedded import exact_search, name_codes, space_rows
from nearfeed_backends.embedded.numpy_store import NumpyStore
from nearfeed_backends.milvus.store import MilvusStore
from nearfeed_backends.opening import open_store
from nearfeed_contracts.vector_store import Filter, StoredVector, VectorStore

DIM = 6
TOLERANCE = 1e-5
printable = st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"])
item_ids = st.sampled_from([f"i{n}" for n in range(30)]) | st.text(printable, min_size=1, max_size=6)
communities = st.sampled_from(["c1", "c2", '"c3\\'])
authors = st.sampled_from(["a1", "a2", "á", "a\u0301"])
times = st.integers(-(2**40), 2**52) | st.integers(0, 5)


@st.composite
def vectors(draw: st.DrawFn) -> np.ndarray:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    return generator.normal(size=DIM).astype(np.float32) * draw(st.sampled_from([0, 1, 100]))


posts = st.builds(StoredVector, item_ids, communities, authors, times, vectors())
filters = st.builds(
    Filter,
    st.none() | st.frozensets(communities | st.just("nowhere")),
    st.none() | times,
    st.frozensets(item_ids, max_size=10),
    st.frozensets(authors, max_size=2),
    st.none() | st.frozensets(item_ids, max_size=15),
)
upserts = st.tuples(st.just("upsert"), st.lists(posts, max_size=20))
deletions = st.tuples(st.just("delete"), st.lists(item_ids, max_size=5))
searches = st.tuples(st.just("search"), st.tuples(vectors(), st.integers(1, 60), filters))
steps = st.lists(upserts | deletions | searches, min_size=1, max_size=8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusStore]:
    store = open_store(f"milvus-lite://{tmp_path_factory.mktemp('milvus')}/vectors.db")
    assert isinstance(store, MilvusStore)
    yield store
    store.close()


@pytest.fixture(scope="module")
def faiss_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorStore]:
    store = open_store(f"faiss://{tmp_path_factory.mktemp('faiss')}/vectors")
    yield store
    store.close()


@pytest.mark.parametrize("scans", [True, False], ids=["scanned", "row by row"])
@settings(max_examples=60, deadline=None)
@given(steps=steps, dead_rows=st.sampled_from([0, 3, 4_096]))
def test_faiss_answers_as_the_exact_store(
    faiss_store: VectorStore, scans: bool, steps: list, dead_rows: int
) -> None:
    few = 0 if scans else exact_search._FEW_ROWS
    with (
        patch.object(exact_search, "_FEW_ROWS", few),
        patch.object(space_rows, "_LEAST_DEAD", dead_rows),
        patch.object(space_rows, "MIN_ROWS", 4),
        patch.object(name_codes, "_CACHED_FROM", 2),
        patch.object(name_codes, "_MOST_SETS", 3),
    ):
        answers_as_the_exact_store(faiss_store, steps)


@settings(max_examples=40, deadline=None)
@given(steps=steps, flush_rows=st.sampled_from([1, 10, 1_000]))
def test_milvus_lite_answers_as_the_exact_store(store: MilvusStore, steps: list, flush_rows: int) -> None:
    store._flush_rows = flush_rows
    answers_as_the_exact_store(store, steps)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[VectorStore]]:
    # Of each also one that asks its graph wherever a graph can answer at all.
    urls = [
        opensearch_url(),
        opensearch_url("?exact_matches=0"),
        milvus_url(),
        milvus_url("?exact_matches=0&exact_share=0"),
    ]
    stores = [open_store(url) for url in urls]
    yield stores
    for store in stores:
        store.close()


@pytest.mark.server
@settings(max_examples=15, deadline=None)
@given(steps=steps)
def test_servers_answer_as_the_exact_store(servers: list[VectorStore], steps: list) -> None:
    for store in servers:
        answers_as_the_exact_store(store, steps)


def answers_as_the_exact_store(store: VectorStore, steps: list) -> None:
    exact = NumpyStore()
    space = uuid.uuid4().hex
    for each in (store, exact):
        each.create_space(space, DIM)
    for name, argument in steps:
        if name == "search":
            same_hits(store, exact, space, *argument)
        else:
            for each in (store, exact):
                getattr(each, name)(space, argument)
                each.flush(space)
    same_content(store, exact, space)
    store.drop_space(space)


def same_hits(
    store: VectorStore, exact: VectorStore, space: str, vector: np.ndarray, k: int, where: Filter
) -> None:
    matching = exact.search(space, vector, 10_000, where)
    score_of = dict(matching)
    hits = store.search(space, vector, k, where)
    assert len(hits) == len({hit.item_id for hit in hits}) == min(k, len(matching))
    scale = TOLERANCE * (1 + max((abs(score) for score in score_of.values()), default=0))
    for hit, best in zip(hits, matching, strict=False):
        assert abs(hit.score - score_of[hit.item_id]) <= scale
        assert abs(hit.score - best.score) <= scale


def same_content(store: VectorStore, exact: VectorStore, space: str) -> None:
    everything = [hit.item_id for hit in exact.search(space, np.zeros(DIM, np.float32), 10_000, Filter())]
    assert store.count(space) == exact.count(space) == len(everything)
    expected = exact.fetch(space, everything)
    fetched = store.fetch(space, [*everything, "unknown"])
    assert fetched.keys() == expected.keys()
    assert all(np.array_equal(fetched[name], expected[name]) for name in everything)
