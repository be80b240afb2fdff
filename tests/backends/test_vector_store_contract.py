"""What holds for every VectorStore; a new back end adds a class at the end."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.vector_servers import milvus_url, opensearch_url

from nearfeed_backends.opening import open_store
from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.fields import MAX_ID
from nearfeed_contracts.vector_store import (
    Filter,
    Hit,
    StoredVector,
    StoreUnavailableError,
    UnknownSpaceError,
    VectorDimensionError,
    VectorStore,
)

DIM = 4
HOSTILE_IDS = [
    '"',
    "'",
    "\\",
    '\\"',
    '"]or(1==1)#',
    "%",
    "_",
    "a%b_c*?",
    "{x}",
    "$meta",
    "a/b/c",
    "á",
    "a\u0301",
    "ß",
    "SS",
    "ss",
    "한국어",
    "🙂👩‍👩‍👧",
    "\u200d",
    "0",
    "00",
    "null",
    "x" * MAX_ID,
    "🙂" * MAX_ID,
    "\\n",
    "a\\",
]
EVERYTHING = Filter()


def vector(*values: float) -> VectorArray:
    return np.array(values, np.float32)


def post(
    item_id: str,
    at: VectorArray | None = None,
    *,
    community: str = "c",
    author: str = "a",
    published: int = 0,
) -> StoredVector:
    return StoredVector(item_id, community, author, published, vector(1, 0, 0, 0) if at is None else at)


def found(store: VectorStore, space: str, where: Filter, k: int = 100) -> set[str]:
    hits = store.search(space, vector(1, 0, 0, 0), k, where)
    assert len({hit.item_id for hit in hits}) == len(hits)
    return {hit.item_id for hit in hits}


class VectorStoreContract:
    """Subclasses give `store`, which may hold other spaces than `space`."""

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls) -> Iterator[VectorStore]:
        raise NotImplementedError

    @pytest.fixture
    def space(self, store: VectorStore) -> Iterator[str]:
        name = f"space-{uuid.uuid4().hex}"
        store.create_space(name, DIM)
        yield name
        store.drop_space(name)

    def test_hits_are_the_highest_inner_products_best_first(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post(str(i), vector(i, 1, 0, 0)) for i in range(10)])
        store.flush(space)
        hits = store.search(space, vector(2, 3, 0, 0), 3, EVERYTHING)
        assert [(hit.item_id, hit.score) for hit in hits] == [("9", 21.0), ("8", 19.0), ("7", 17.0)]

    def test_many_searches_find_what_each_finds(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post(str(i), vector(i, 1, 0, 5 - i), community=f"c{i % 2}") for i in range(10)])
        store.flush(space)
        where = Filter(community_ids=frozenset({"c1"}))
        asked = [vector(2, 3, 0, 0), vector(0, 0, 1, 1), vector(-1, 0, 0, 0)]
        assert store.search_many(space, asked, 3, where) == [
            store.search(space, each, 3, where) for each in asked
        ]
        assert store.search_many(space, [], 3, where) == []

    def test_vectors_are_not_normalised(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post("long", vector(10, 0, 0, 0)), post("unit", vector(1, 0, 0, 0))])
        store.flush(space)
        hits = store.search(space, vector(-1, 0, 0, 0), 2, EVERYTHING)
        assert [tuple(hit) for hit in hits] == [("unit", -1.0), ("long", -10.0)]

    @pytest.mark.parametrize(("k", "number"), [(0, 0), (1, 1), (7, 7), (8, 7), (10_000, 7)])
    def test_min_of_k_and_matching_hits_come(
        self, store: VectorStore, space: str, k: int, number: int
    ) -> None:
        store.upsert(space, [post(str(i)) for i in range(7)])
        store.flush(space)
        assert len(store.search(space, vector(1, 0, 0, 0), k, EVERYTHING)) == number

    def test_an_empty_space_has_no_hits(self, store: VectorStore, space: str) -> None:
        assert found(store, space, EVERYTHING) == set()
        assert store.count(space) == 0

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            (Filter(community_ids=frozenset({"c0", "c2"})), {"0", "2", "3", "5"}),
            (Filter(community_ids=frozenset()), set()),
            (Filter(community_ids=frozenset({"nowhere"})), set()),
            (Filter(published_after=4), {"4", "5"}),
            (Filter(published_after=-1), {"0", "1", "2", "3", "4", "5"}),
            (Filter(exclude_item_ids=frozenset({"1", "5", "unknown"})), {"0", "2", "3", "4"}),
            (Filter(exclude_author_ids=frozenset({"a1"})), {"0", "2", "4"}),
            (
                Filter(frozenset({"c0", "c1"}), 1, frozenset({"3"}), frozenset({"a0"})),
                {"1"},
            ),
            (Filter(item_ids=frozenset({"1", "4", "unknown"})), {"1", "4"}),
            (Filter(item_ids=frozenset({"unknown"})), set()),
            (Filter(item_ids=frozenset()), set()),
            (
                Filter(
                    frozenset({"c0", "c1"}), exclude_item_ids=frozenset({"1"}), item_ids=frozenset("0125")
                ),
                {"0"},
            ),
        ],
    )
    def test_a_filter_holds(self, store: VectorStore, space: str, where: Filter, expected: set[str]) -> None:
        store.upsert(
            space,
            [post(str(i), community=f"c{i % 3}", author=f"a{i % 2}", published=i) for i in range(6)],
        )
        store.flush(space)
        assert found(store, space, where) == expected

    def test_hits_are_columns_too(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post(str(i), vector(i, 0, 0, 0)) for i in range(5)])
        store.flush(space)
        hits = store.search(space, vector(2, 0, 0, 0), 3, EVERYTHING)
        assert hits.item_ids == ["4", "3", "2"]
        assert (hits.scores.dtype, hits.scores.tolist()) == (np.float32, [8, 6, 4])
        assert hits == [Hit("4", 8.0), Hit("3", 6.0), Hit("2", 4.0)]

    def test_many_ids_are_searched_among(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post(str(i), vector(i, 0, 0, 0)) for i in range(3_000)])
        store.flush(space)
        among = frozenset(str(i) for i in range(0, 6_000, 2))
        hits = store.search(space, vector(1, 0, 0, 0), 2_000, Filter(item_ids=among))
        assert hits.item_ids == [str(i) for i in range(2_998, -1, -2)]

    def test_many_exclusions_hold(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post(str(i), vector(i, 0, 0, 0)) for i in range(3_000)])
        store.flush(space)
        excluded = frozenset(str(i) for i in range(3_000) if i % 500)
        assert found(store, space, Filter(exclude_item_ids=excluded)) == {
            str(i) for i in range(0, 3_000, 500)
        }

    def test_an_upsert_replaces_all_of_a_post(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post("p", vector(1, 0, 0, 0), community="old", author="old", published=1)])
        store.flush(space)
        store.upsert(space, [post("p", vector(0, 2, 0, 0), community="new", author="new", published=9)])
        store.flush(space)
        assert store.count(space) == 1
        assert found(store, space, Filter(community_ids=frozenset({"old"}))) == set()
        assert found(store, space, Filter(frozenset({"new"}), 9, exclude_author_ids=frozenset({"old"}))) == {
            "p"
        }
        assert store.fetch(space, ["p"])["p"].tolist() == [0, 2, 0, 0]

    def test_the_last_of_two_in_one_upsert_wins(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post("p", vector(1, 0, 0, 0)), post("p", vector(2, 0, 0, 0))])
        store.flush(space)
        assert store.count(space) == 1
        assert store.fetch(space, ["p"])["p"].tolist() == [2, 0, 0, 0]

    def test_a_deletion_removes_and_a_later_upsert_brings_back(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post(name) for name in "abc"])
        store.flush(space)
        store.delete(space, ["a", "unknown", "b"])
        store.delete(space, [])
        store.flush(space)
        assert found(store, space, EVERYTHING) == {"c"}
        assert store.count(space) == 1
        assert set(store.fetch(space, ["a", "c"])) == {"c"}
        store.upsert(space, [post("a")])
        store.flush(space)
        assert found(store, space, EVERYTHING) == {"a", "c"}

    def test_fetch_gives_what_was_stored(self, store: VectorStore, space: str) -> None:
        values = np.random.default_rng(0).normal(size=(2_500, DIM)).astype(np.float32)
        store.upsert(space, [post(str(i), row) for i, row in enumerate(values)])
        store.flush(space)
        fetched = store.fetch(space, [*map(str, range(2_500)), "unknown"])
        assert len(fetched) == 2_500
        assert all(np.array_equal(fetched[str(i)], values[i]) for i in range(2_500))
        assert all(row.dtype == np.float32 for row in fetched.values())
        assert store.fetch(space, []) == {}

    def test_an_empty_upsert_is_no_error(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [])
        store.flush(space)
        assert store.count(space) == 0

    @pytest.mark.parametrize(
        "wrong",
        [
            vector(1, 2, 3),
            vector(1, 2, 3, 4, 5),
            vector(1, np.nan, 0, 0),
            vector(np.inf, 0, 0, 0),
            np.full(DIM, 1e300),
            np.ones((1, DIM), np.float32),
            np.array(1.0, np.float32),
        ],
    )
    def test_a_wrong_vector_is_refused_before_anything_is_written(
        self, store: VectorStore, space: str, wrong: VectorArray
    ) -> None:
        with pytest.raises(VectorDimensionError, match="item wrong"):
            store.upsert(space, [post("right"), post("wrong", wrong)])
        with pytest.raises(VectorDimensionError):
            store.search(space, wrong, 1, EVERYTHING)
        store.flush(space)
        assert store.count(space) == 0

    def test_a_later_change_of_the_array_changes_nothing(self, store: VectorStore, space: str) -> None:
        values = vector(1, 2, 3, 4)
        store.upsert(space, [post("p", values)])
        values[:] = 0
        store.flush(space)
        store.fetch(space, ["p"])["p"][:] = 0
        assert store.fetch(space, ["p"])["p"].tolist() == [1, 2, 3, 4]

    def test_ids_are_compared_byte_for_byte(self, store: VectorStore, space: str) -> None:
        names = HOSTILE_IDS
        store.upsert(space, [post(name, community=name, author=name) for name in names])
        store.flush(space)
        everything = set(names)
        assert found(store, space, EVERYTHING) == everything
        for name in names:
            one = frozenset({name})
            assert found(store, space, Filter(community_ids=one)) == {name}
            assert found(store, space, Filter(item_ids=one)) == {name}
            assert found(store, space, Filter(exclude_item_ids=one)) == everything - {name}
            assert found(store, space, Filter(exclude_author_ids=one)) == everything - {name}
            assert set(store.fetch(space, [name])) == {name}
        store.delete(space, names[:1])
        store.flush(space)
        assert found(store, space, EVERYTHING) == everything - {names[0]}

    def test_spaces_do_not_meet(self, store: VectorStore, space: str) -> None:
        names = [f"{space}/{name}"[:MAX_ID] for name in ("a", "A", '"', "🙂", "a_b", "a-b", "x" * MAX_ID)]
        for number, name in enumerate(names, 1):
            store.create_space(name, number)
            store.upsert(name, [post(name, np.ones(number, np.float32))])
            store.flush(name)
        assert store.spaces() >= {space, *names}
        for number, name in enumerate(names, 1):
            assert [tuple(h) for h in store.search(name, np.ones(number, np.float32), 9, EVERYTHING)] == [
                (name, float(number))
            ]
            store.drop_space(name)
        assert not store.spaces() & set(names)

    def test_making_a_space_again_leaves_it_as_it_is(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post("p")])
        store.flush(space)
        store.create_space(space, DIM)
        assert store.count(space) == 1
        with pytest.raises(ConflictError, match=f"has {DIM} dimensions, not {DIM + 1}"):
            store.create_space(space, DIM + 1)

    def test_a_dropped_space_is_made_anew_empty(self, store: VectorStore, space: str) -> None:
        store.upsert(space, [post("p")])
        store.drop_space(space)
        store.drop_space(space)
        assert space not in store.spaces()
        store.create_space(space, DIM + 1)
        assert store.count(space) == 0

    def test_an_unknown_space_is_told(self, store: VectorStore) -> None:
        calls: list[Callable[[str], object]] = [
            lambda space: store.upsert(space, [post("p")]),
            lambda space: store.delete(space, ["p"]),
            store.flush,
            lambda space: store.search(space, vector(1, 0, 0, 0), 1, EVERYTHING),
            lambda space: store.fetch(space, ["p"]),
            store.count,
        ]
        for call in calls:
            with pytest.raises(UnknownSpaceError, match="no space unheard-of"):
                call("unheard-of")
        store.drop_space("unheard-of")


class TestNumpyStore(VectorStoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def store(cls) -> VectorStore:
        return open_store("memory://")


class TestFaiss(VectorStoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorStore]:
        store = open_store(f"faiss://{tmp_path_factory.mktemp('faiss')}/vectors")
        yield store
        store.close()
        store.close()
        with pytest.raises(StoreUnavailableError, match="closed"):
            store.spaces()


class TestMilvusLite(VectorStoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorStore]:
        folder: Path = tmp_path_factory.mktemp("milvus")
        store = open_store(f"milvus-lite://{folder}/vectors.db")
        yield store
        store.close()
        store.close()
        with pytest.raises(StoreUnavailableError, match="closed"):
            store.spaces()


class ServerContract(VectorStoreContract):
    """Subclasses say where the server is."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls) -> str:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, url: str) -> Iterator[VectorStore]:
        store = open_store(url)
        yield store
        store.close()
        store.close()
        with pytest.raises(StoreUnavailableError, match="closed"):
            store.spaces()

    def test_another_process_sees_what_was_flushed(self, store: VectorStore, space: str, url: str) -> None:
        other = open_store(url)
        for number in range(5):
            store.upsert(space, [post(f"p{number}")])
            store.flush(space)
            assert found(other, space, EVERYTHING) == {f"p{n}" for n in range(number + 1)}
            assert other.count(space) == number + 1
        other.close()

    def test_namespaces_do_not_meet(self, store: VectorStore, space: str, url: str) -> None:
        names = [uuid.uuid4().hex, f"{uuid.uuid4().hex}_a"]
        others = [open_store(f"{url}?namespace={name}") for name in names]
        everyone = [store, *others]
        for number, each in enumerate(everyone, 1):
            each.create_space(space, DIM)
            each.upsert(space, [post(f"p{number}")])
            each.flush(space)
        assert [found(each, space, EVERYTHING) for each in everyone] == [{"p1"}, {"p2"}, {"p3"}]
        assert [other.spaces() for other in others] == [{space}, {space}]
        store.drop_space(space)
        assert space not in store.spaces()
        others[0].drop_space(space)
        assert [other.spaces() for other in others] == [set(), {space}]
        assert found(others[1], space, EVERYTHING) == {"p3"}
        others[1].drop_space(space)
        for other in others:
            other.close()


@pytest.mark.server
class TestMilvus(ServerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def url(cls) -> str:
        return milvus_url()


@pytest.mark.server
class TestOpenSearch(ServerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def url(cls) -> str:
        return opensearch_url()
